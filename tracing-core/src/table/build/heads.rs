//! The resources and scopes of a builder, each held once however often and in whatever order of its
//! attributes it came.

use std::collections::HashMap;

use super::copy::{self, Codes};
use super::values::{Memo, intern, push_key_value};
use crate::table::columns::{Attributes, Resources, Scopes, ValueKind};
use crate::table::strings::{Code, Strings};
use crate::wire::WireError;
use crate::wire::otlp::tags::{resource, scope};
use crate::wire::protobuf::Reader;

/// Resources and scopes as rows of their own, named by ordinals. Their offsets to scopes and spans are unused.
#[derive(Debug, Default)]
pub(super) struct Heads {
    pub(super) resources: Resources,
    pub(super) scopes: Scopes,
    known_resources: Known,
    known_scopes: Known,
}

#[derive(Debug, Default)]
struct Known {
    by_bytes: HashMap<Box<[u8]>, u32>,
    by_content: HashMap<Box<[u64]>, u32>,
    content: Vec<u64>,
}

impl Known {
    /// The ordinal of the row `new` just appended, or that of an earlier one with the same content.
    fn settle(&mut self, fixed: &[u64], attributes: &Attributes, new: u32) -> u32 {
        self.content.clear();
        self.content.extend_from_slice(fixed);
        push_content(&mut self.content, attributes, new as usize);
        if let Some(&known) = self.by_content.get(self.content.as_slice()) {
            return known;
        }
        self.by_content.insert(self.content.as_slice().into(), new);
        new
    }
}

impl Heads {
    /// The ordinal of a Resource's bytes.
    pub(super) fn resource(&mut self, strings: &mut Strings, bytes: &[u8]) -> Result<u32, WireError> {
        if let Some(&known) = self.known_resources.by_bytes.get(bytes) {
            return Ok(known);
        }
        if let Err(error) = decode_resource(&mut self.resources, strings, bytes) {
            copy::forget_open(&mut self.resources.attributes);
            return Err(error);
        }
        let at = self.settle_resource();
        self.known_resources.by_bytes.insert(bytes.into(), at);
        Ok(at)
    }

    /// The ordinal of an InstrumentationScope's bytes.
    pub(super) fn scope(&mut self, strings: &mut Strings, bytes: &[u8]) -> Result<u32, WireError> {
        if let Some(&known) = self.known_scopes.by_bytes.get(bytes) {
            return Ok(known);
        }
        if let Err(error) = decode_scope(&mut self.scopes, strings, bytes) {
            copy::forget_open(&mut self.scopes.attributes);
            return Err(error);
        }
        let at = self.settle_scope();
        self.known_scopes.by_bytes.insert(bytes.into(), at);
        Ok(at)
    }

    /// The ordinal of another table's resource.
    pub(super) fn resource_row(&mut self, from: &Resources, row: usize, codes: &mut impl Codes) -> u32 {
        copy_resource(&mut self.resources, from, row, codes);
        self.settle_resource()
    }

    /// The ordinal of another table's scope.
    pub(super) fn scope_row(&mut self, from: &Scopes, row: usize, codes: &mut impl Codes) -> u32 {
        copy_scope(&mut self.scopes, from, row, codes);
        self.settle_scope()
    }

    fn settle_resource(&mut self) -> u32 {
        let rows = &mut self.resources;
        let new = rows.service.len() - 1;
        let fixed = [
            rows.service.last().map_or(0, |service| service.payload()),
            rows.has_service.last().map_or(0, |&has| u64::from(has)),
            rows.dropped_attributes.last().map_or(0, |&dropped| u64::from(dropped)),
        ];
        let at = self.known_resources.settle(&fixed, &rows.attributes, new as u32);
        if at as usize != new {
            rows.service.truncate(new);
            rows.has_service.truncate(new);
            rows.dropped_attributes.truncate(new);
            forget_last(&mut rows.attributes);
        }
        at
    }

    fn settle_scope(&mut self) -> u32 {
        let rows = &mut self.scopes;
        let new = rows.name.len() - 1;
        let fixed = [
            rows.name.last().map_or(0, |name| name.payload()),
            rows.version.last().map_or(0, |version| version.payload()),
            rows.dropped_attributes.last().map_or(0, |&dropped| u64::from(dropped)),
        ];
        let at = self.known_scopes.settle(&fixed, &rows.attributes, new as u32);
        if at as usize != new {
            rows.name.truncate(new);
            rows.version.truncate(new);
            rows.dropped_attributes.truncate(new);
            forget_last(&mut rows.attributes);
        }
        at
    }
}

/// Appends a resource, without its scopes.
pub(super) fn copy_resource(to: &mut Resources, from: &Resources, row: usize, codes: &mut impl Codes) {
    to.service.push(from.service.get(row).map_or(Code::EMPTY, |&code| codes.code(code)));
    to.has_service.push(from.has_service.get(row).copied().unwrap_or_default());
    to.dropped_attributes.push(from.dropped_attributes.get(row).copied().unwrap_or_default());
    copy::attributes(&mut to.attributes, &from.attributes, &(row..row + 1), codes);
}

/// Appends a scope, without its spans.
pub(super) fn copy_scope(to: &mut Scopes, from: &Scopes, row: usize, codes: &mut impl Codes) {
    to.name.push(from.name.get(row).map_or(Code::EMPTY, |&code| codes.code(code)));
    to.version.push(from.version.get(row).map_or(Code::EMPTY, |&code| codes.code(code)));
    to.dropped_attributes.push(from.dropped_attributes.get(row).copied().unwrap_or_default());
    copy::attributes(&mut to.attributes, &from.attributes, &(row..row + 1), codes);
}

fn decode_resource(to: &mut Resources, strings: &mut Strings, bytes: &[u8]) -> Result<(), WireError> {
    let mut memo = Memo::default();
    let mut dropped = 0;
    let mut at = Reader::new(bytes);
    while let Some(tag) = at.tag("Resource")? {
        match tag {
            resource::ATTRIBUTES => {
                let inside = at.message("Resource.attributes")?;
                push_key_value(&mut to.attributes, strings, &mut memo, inside)?;
            }
            resource::DROPPED => dropped = at.varint("Resource.dropped_attributes_count")? as u32,
            other => at.skip(other, "Resource", resource::KNOWN)?,
        }
    }
    let service = take_service(&mut to.attributes, strings);
    to.service.push(service);
    // an empty name is none, for the blocks cannot tell them apart
    to.has_service.push(service != Code::EMPTY);
    to.dropped_attributes.push(dropped);
    to.attributes.offsets.close(to.attributes.key.len());
    Ok(())
}

/// Removes the string `service.name` from the entries of the owner that is not closed yet. Of several the
/// last one counts.
fn take_service(attributes: &mut Attributes, strings: &Strings) -> Code {
    let Some(key) = strings.find("service.name") else { return Code::EMPTY };
    let mut service = Code::EMPTY;
    let open = attributes.offsets.children();
    let mut kept = open;
    for at in open..attributes.key.len() {
        let (Some(&of), Some(&kind), Some(&value)) =
            (attributes.key.get(at), attributes.kind.get(at), attributes.value.get(at))
        else {
            break;
        };
        if of == key && kind == ValueKind::String {
            service = Code::from_payload(value);
            continue;
        }
        attributes.key.swap(kept, at);
        attributes.kind.swap(kept, at);
        attributes.value.swap(kept, at);
        kept += 1;
    }
    attributes.key.truncate(kept);
    attributes.kind.truncate(kept);
    attributes.value.truncate(kept);
    service
}

fn decode_scope(to: &mut Scopes, strings: &mut Strings, bytes: &[u8]) -> Result<(), WireError> {
    let mut memo = Memo::default();
    let (mut name, mut version, mut dropped) = (Code::EMPTY, Code::EMPTY, 0);
    let mut at = Reader::new(bytes);
    while let Some(tag) = at.tag("InstrumentationScope")? {
        match tag {
            scope::NAME => name = intern(strings, at.bytes("InstrumentationScope.name")?),
            scope::VERSION => version = intern(strings, at.bytes("InstrumentationScope.version")?),
            scope::ATTRIBUTES => {
                let inside = at.message("InstrumentationScope.attributes")?;
                push_key_value(&mut to.attributes, strings, &mut memo, inside)?;
            }
            scope::DROPPED => dropped = at.varint("InstrumentationScope.dropped_attributes_count")? as u32,
            other => at.skip(other, "InstrumentationScope", scope::KNOWN)?,
        }
    }
    to.name.push(name);
    to.version.push(version);
    to.dropped_attributes.push(dropped);
    to.attributes.offsets.close(to.attributes.key.len());
    Ok(())
}

/// What makes two owners' attributes the same: the same entries, in whatever order of their keys.
fn push_content(content: &mut Vec<u64>, attributes: &Attributes, owner: usize) {
    for (head, payloads) in attributes.unordered(owner) {
        content.extend([head, payloads.len() as u64]);
        content.extend_from_slice(payloads);
    }
}

/// Takes the last owner and its entries away.
fn forget_last(attributes: &mut Attributes) {
    attributes.offsets.0.pop();
    copy::forget_open(attributes);
}
