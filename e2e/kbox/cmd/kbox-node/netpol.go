package main

import (
	"bytes"
	"cmp"
	"context"
	"flag"
	"fmt"
	"log"
	"maps"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"time"

	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// netpol enforces NetworkPolicies: it renders pods, namespaces and policies into one nftables table, and
// replaces that table in one transaction whenever the text changes.
//
// A pod that some policy selects has a chain for that direction: one `return` per allowed combination of
// peers and ports, then a drop. Replies, and a pod's traffic with itself, pass before; traffic of the node
// to its pods (probes) is not looked at. The hooks see a Service's backend, not its address, as DNAT comes
// first; pods on the bridge pass them because br_netfilter is on.
func netpol(fs *flag.FlagSet) func(context.Context, kubernetes.Interface, informers.SharedInformerFactory) error {
	resolver := new(netip.Addr)
	fs.TextVar(resolver, "dns", netip.MustParseAddr("10.200.0.1"), "address of the cluster's DNS")
	return func(ctx context.Context, _ kubernetes.Interface, f informers.SharedInformerFactory) error {
		pods, namespaces, policies := f.Core().V1().Pods(), f.Core().V1().Namespaces(), f.Networking().V1().NetworkPolicies()
		dirty := make(chan struct{}, 1)
		touch := func() {
			select {
			case dirty <- struct{}{}:
			default:
			}
		}
		for _, i := range []cache.SharedIndexInformer{pods.Informer(), namespaces.Informer(), policies.Informer()} {
			if _, err := i.AddEventHandler(onChange(func(any) { touch() })); err != nil {
				return err
			}
		}
		if err := sync(ctx, f); err != nil {
			return err
		}
		touch()
		for last := ""; ; {
			select {
			case <-ctx.Done():
				return nil
			case <-dirty:
			}
			time.Sleep(20 * time.Millisecond) // let a burst of events become one change
			c := cluster{namespaces: map[string]labels.Set{}, pods: []*pod{{
				// The cluster's DNS is a process of the node; policies know it as the pod that it is elsewhere.
				ns: "kube-system", name: "kube-dns", ip: *resolver, labels: labels.Set{"k8s-app": "kube-dns"},
			}}}
			nss, _ := namespaces.Lister().List(labels.Everything())
			for _, ns := range nss {
				c.namespaces[ns.Name] = ns.Labels
			}
			ps, _ := pods.Lister().List(labels.Everything())
			for _, p := range ps {
				c.addPod(p)
			}
			c.policies, _ = policies.Lister().List(labels.Everything())
			text := c.render()
			if text == last {
				continue
			}
			cmd := exec.CommandContext(ctx, "nft", "-f", "-")
			cmd.Stdin = strings.NewReader(text)
			if out, err := cmd.CombinedOutput(); err != nil {
				log.Printf("nft: %v: %s%s", err, out, text)
				time.AfterFunc(time.Second, touch)
				continue
			}
			last = text
		}
	}
}

// A pod as policies see it: on the pod network, alive, with an address.
type pod struct {
	ns, name string
	ip       netip.Addr
	labels   labels.Set
	ports    []core.ContainerPort // the named ones
}

type cluster struct {
	namespaces map[string]labels.Set
	pods       []*pod
	policies   []*networking.NetworkPolicy
}

func (c *cluster) addPod(p *core.Pod) {
	ip, err := netip.ParseAddr(p.Status.PodIP)
	if err != nil || p.Spec.HostNetwork || p.Status.Phase == core.PodSucceeded || p.Status.Phase == core.PodFailed {
		return
	}
	q := &pod{ns: p.Namespace, name: p.Name, ip: ip, labels: p.Labels}
	for _, container := range slices.Concat(p.Spec.InitContainers, p.Spec.Containers) {
		for _, port := range container.Ports {
			if port.Name != "" {
				q.ports = append(q.ports, port)
			}
		}
	}
	c.pods = append(c.pods, q)
}

// A direction names the parts of a rule that differ between ingress and egress.
type direction struct {
	kind networking.PolicyType
	own  string // nft's name for the selected pod's end of the packet
	peer string // and for the other end
}

var (
	ingress = direction{networking.PolicyTypeIngress, "ip daddr", "ip saddr"}
	egress  = direction{networking.PolicyTypeEgress, "ip saddr", "ip daddr"}
)

func (c *cluster) render() string {
	slices.SortFunc(c.pods, func(a, b *pod) int { return a.ip.Compare(b.ip) })
	slices.SortFunc(c.policies, func(a, b *networking.NetworkPolicy) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
	})
	var chains bytes.Buffer
	isolated := map[string]bool{} // "ADDR . ADDR" of each pod with a chain
	dispatch := func(d direction) {
		var jumps []string
		for _, p := range c.pods {
			rules, selected := c.rules(d, p)
			if !selected {
				continue
			}
			name := fmt.Sprintf("%s-%s", d.kind, p.ip)
			fmt.Fprintf(&chains, "  chain %s { # %s/%s\n", name, p.ns, p.name)
			for _, r := range rules {
				fmt.Fprintf(&chains, "    %s\n", strings.TrimSpace(r+" return"))
			}
			chains.WriteString("    counter drop\n  }\n")
			jumps = append(jumps, fmt.Sprintf("%s : jump %s", p.ip, name))
			isolated[fmt.Sprintf("%s . %[1]s", p.ip)] = true
		}
		fmt.Fprintf(&chains, "  chain %s {\n", d.kind)
		if jumps != nil {
			fmt.Fprintf(&chains, "    %s vmap { %s }\n", d.own, strings.Join(jumps, ", "))
		}
		chains.WriteString("  }\n")
	}
	dispatch(egress)
	dispatch(ingress)
	pass := "ct state established,related accept"
	if len(isolated) > 0 {
		pass += "\n    ip saddr . ip daddr { " + strings.Join(slices.Sorted(maps.Keys(isolated)), ", ") + " } accept"
	}
	return fmt.Sprintf(`table ip e2e-netpol
delete table ip e2e-netpol
table ip e2e-netpol {
%s  chain forward {
    type filter hook forward priority filter
    %s
    jump Egress
    jump Ingress
  }
  chain input { # pods to the node: API server, DNS
    type filter hook input priority filter
    ct state established,related accept
    jump Egress
  }
}
`, &chains, pass)
}

// rules gives the nft matches of what the policies allow a pod, and whether any policy selects it.
func (c *cluster) rules(d direction, p *pod) (rules []string, selected bool) {
	for _, np := range c.policies {
		if np.Namespace != p.ns || !matches(&np.Spec.PodSelector, p.labels) || !slices.Contains(np.Spec.PolicyTypes, d.kind) {
			continue // (the API server has filled in PolicyTypes)
		}
		selected = true
		if d == ingress {
			for _, r := range np.Spec.Ingress {
				rules = append(rules, c.combine(d, p, r.From, r.Ports)...)
			}
		} else {
			for _, r := range np.Spec.Egress {
				rules = append(rules, c.combine(d, p, r.To, r.Ports)...)
			}
		}
	}
	return rules, selected
}

// combine gives one match for each pair of peers and ports of a policy's rule.
func (c *cluster) combine(d direction, p *pod, to []networking.NetworkPolicyPeer, ports []networking.NetworkPolicyPort) (rules []string) {
	if len(ports) == 0 {
		ports = []networking.NetworkPolicyPort{{}}
	}
	for _, peer := range c.peers(d, p.ns, to) {
		for _, port := range ports {
			var match string
			var ok bool
			switch {
			case port == (networking.NetworkPolicyPort{}):
				ok = true // no ports given: all of every protocol
			case port.Port == nil || port.Port.Type == intstr.Int:
				match, ok = numeric(port), true
			case d == ingress:
				match, ok = named(port, "", []*pod{p})
			default:
				match, ok = named(port, d.peer+" . ", peer.pods)
			}
			if ok {
				rules = append(rules, strings.TrimSpace(peer.match+" "+match))
			}
		}
	}
	return rules
}

// peers are addresses as an nft match, and the pods among them as far as a selector named them.
type peers struct {
	match string
	pods  []*pod
}

func (c *cluster) peers(d direction, ns string, list []networking.NetworkPolicyPeer) (all []peers) {
	if len(list) == 0 {
		return []peers{{"", c.pods}}
	}
	var pods []*pod
	var addrs []string
	for _, p := range c.pods {
		if slices.ContainsFunc(list, func(l networking.NetworkPolicyPeer) bool { return c.selects(l, ns, p) }) {
			pods, addrs = append(pods, p), append(addrs, p.ip.String())
		}
	}
	if pods != nil {
		all = append(all, peers{d.peer + " { " + strings.Join(addrs, ", ") + " }", pods})
	}
	for _, l := range list {
		if l.IPBlock == nil || !isIPv4(l.IPBlock.CIDR) {
			continue
		}
		match := d.peer + " " + l.IPBlock.CIDR
		for _, except := range l.IPBlock.Except {
			match += " " + d.peer + " != " + except
		}
		all = append(all, peers{match, nil})
	}
	return all
}

// selects says whether a peer's selectors, in a policy of namespace ns, choose the pod.
func (c *cluster) selects(l networking.NetworkPolicyPeer, ns string, p *pod) bool {
	switch {
	case l.IPBlock != nil:
		return false
	case l.NamespaceSelector == nil:
		return p.ns == ns && matches(l.PodSelector, p.labels)
	default:
		return matches(l.NamespaceSelector, c.namespaces[p.ns]) && (l.PodSelector == nil || matches(l.PodSelector, p.labels))
	}
}

func protocol(p *core.Protocol) string {
	if p == nil {
		return "tcp"
	}
	return strings.ToLower(string(*p))
}

// numeric matches a port number, a range of them, or a protocol with all its ports.
func numeric(port networking.NetworkPolicyPort) string {
	switch proto := protocol(port.Protocol); {
	case port.Port == nil:
		return "meta l4proto " + proto
	case port.EndPort != nil:
		return fmt.Sprintf("%s dport %d-%d", proto, port.Port.IntVal, *port.EndPort)
	default:
		return fmt.Sprintf("%s dport %d", proto, port.Port.IntVal)
	}
}

// named matches the numbers that a port's name has in the pods that have it; prefix "ip daddr . " ties
// each number to its pod.
func named(port networking.NetworkPolicyPort, prefix string, pods []*pod) (match string, ok bool) {
	proto, elements := protocol(port.Protocol), map[string]bool{}
	for _, p := range pods {
		for _, q := range p.ports {
			if q.Name != port.Port.StrVal || protocol(&q.Protocol) != proto {
				continue
			}
			e := fmt.Sprint(q.ContainerPort)
			if prefix != "" {
				e = p.ip.String() + " . " + e
			}
			elements[e] = true
		}
	}
	list := strings.Join(slices.Sorted(maps.Keys(elements)), ", ")
	return fmt.Sprintf("%s%s dport { %s }", prefix, proto, list), list != ""
}

func matches(s *meta.LabelSelector, l labels.Set) bool {
	sel, err := meta.LabelSelectorAsSelector(s)
	return err == nil && sel.Matches(l)
}

func isIPv4(cidr string) bool {
	p, err := netip.ParsePrefix(cidr)
	return err == nil && p.Addr().Is4()
}
