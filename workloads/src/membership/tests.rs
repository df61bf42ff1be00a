//! Members that find, follow and miss each other, on loopback ports.

use std::time::Duration;

use super::*;

fn options(id: &str, join: &[SocketAddr]) -> Options {
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    Options {
        id: id.to_owned(),
        roles: vec![Role::Ingester],
        grpc: SocketAddr::from(([127, 0, 0, 1], 9095)),
        zone: "a".to_owned(),
        join: join.iter().map(ToString::to_string).collect(),
        bind: loopback,
        advertise: loopback,
        cluster: "test".to_owned(),
        interval: Duration::from_millis(50),
    }
}

/// Waits until `member` sees what is wanted.
async fn sees(member: &Membership, what: &str, wanted: impl Fn(&[Member]) -> bool) {
    let mut view = member.watch();
    let found = view.wait_for(|view| wanted(view.all()));
    let outcome = tokio::time::timeout(Duration::from_secs(10), found).await.map(drop);
    assert!(outcome.is_ok(), "{what}: {:?}", member.watch().borrow().all());
}

/// A seed that is not there: it makes the first member open its port.
fn nobody() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 9))
}

#[tokio::test]
async fn without_seeds_a_process_is_a_cluster_of_one_and_opens_no_port() {
    let alone = Membership::start(options("alone", &[])).await.unwrap();
    assert_eq!(alone.gossip_address(), None);
    assert_eq!(alone.members(Role::Ingester).len(), 1);
    assert_eq!(alone.members(Role::Querier).len(), 0);
    alone.set_state(State::Active).await;
    alone.publish("flushes", "3").await;
    let own = alone.members(Role::Ingester)[0].clone();
    assert_eq!((own.state, own.key("flushes"), own.local), (State::Active, Some("3"), true));
}

#[tokio::test]
async fn three_members_see_joins_changes_goodbyes_and_crashes() {
    let a = Membership::start(options("a", &[nobody()])).await.unwrap();
    let seed = a.gossip_address().unwrap();
    let b = Membership::start(options("b", &[seed])).await.unwrap();
    let c = Membership::start(options("c", &[seed])).await.unwrap();
    for member in [&a, &b, &c] {
        sees(member, "three members", |all| all.len() == 3).await;
    }
    assert!(b.members(Role::Ingester).iter().filter(|member| member.local).all(|member| member.id == "b"));

    b.set_state(State::Active).await;
    b.publish("flushes", "1").await;
    sees(&c, "b is active and has flushed", |all| {
        all.iter().any(|m| m.id == "b" && m.state == State::Active && m.key("flushes") == Some("1"))
    })
    .await;

    b.set_state(State::Leaving).await;
    sees(&a, "b is leaving", |all| {
        all.iter().any(|member| member.id == "b" && member.state == State::Leaving)
    })
    .await;
    // Its goodbye is heard, not its silence: it still gossips.
    b.set_state(State::Left).await;
    sees(&a, "b has left", |all| all.iter().all(|member| member.id != "b")).await;
    b.leave().await;

    drop(c);
    sees(&a, "c is gone", |all| all.iter().all(|member| member.id != "c")).await;
}

#[tokio::test]
async fn a_member_that_comes_back_is_seen_once_with_its_new_address() {
    let a = Membership::start(options("a", &[nobody()])).await.unwrap();
    let seed = a.gossip_address().unwrap();
    let first = Membership::start(options("b", &[seed])).await.unwrap();
    sees(&a, "b", |all| all.len() == 2).await;
    drop(first);
    let again = Options { grpc: SocketAddr::from(([127, 0, 0, 1], 9999)), ..options("b", &[seed]) };
    let _again = Membership::start(again).await.unwrap();
    sees(&a, "the new b alone", |all| {
        let mut found = all.iter().filter(|member| member.id == "b");
        found.next().is_some_and(|member| member.grpc.port() == 9999) && found.next().is_none()
    })
    .await;
}

#[tokio::test]
async fn a_port_that_is_taken_is_an_error_that_names_it() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut options = options("a", &[nobody()]);
    options.bind = taken.local_addr().unwrap();
    let error = Membership::start(options).await.unwrap_err().to_string();
    assert!(error.starts_with(&format!("gossip on {}: ", taken.local_addr().unwrap())), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_changes_at_once_none_is_lost() {
    for _ in 0..200 {
        let alone = Membership::start(options("a", &[])).await.unwrap();
        let (left, right) = (Arc::clone(&alone), Arc::clone(&alone));
        let publishing = tokio::spawn(async move { left.publish("flushes", "1").await });
        let active = tokio::spawn(async move { right.set_state(State::Active).await });
        publishing.await.unwrap();
        active.await.unwrap();
        let members = alone.members(Role::Ingester);
        assert_eq!((members[0].state, members[0].key("flushes")), (State::Active, Some("1")));
    }
}
