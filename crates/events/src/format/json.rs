//! NDJSON: a JSON object a line.
//!
//! serde_json walks the whole line, so that a line which is no JSON is malformed even where the
//! fault is in a field that nobody asked for; only the wanted values are kept, as slices of the
//! line, and only those among them that hold an escape are ever copied. The wanted names form a
//! small tree. A name with dots leads into nested objects, and matches a key that itself has dots
//! as well (`{"request.path": ..}`), for writers which flatten. Of a key that stands twice the last
//! counts.
//!
//! The road not taken: a SIMD parser. Built for any x86-64, sonic-rs took 0.75 to 0.9 of the time
//! on three real logs, overlooks faults behind the last wanted value, and brings a large unsafe
//! district.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::fields::{Plan, SLOTS_MAX, Slots, Value};
use super::{Parsed, Reject, RejectKind};

/// A name with more dots than this is taken for one key: the ways in which its dots can be read
/// double with each.
const DOTS_MAX: usize = 10;

/// Parses lines by one set of field specifications.
#[derive(Debug)]
pub(crate) struct JsonParser {
    plan: Plan,
    wanted: Node,
    scratch: Vec<u8>,
}

/// The wanted keys of an object.
#[derive(Debug, Default)]
struct Node {
    children: Vec<Child>,
}

#[derive(Debug)]
struct Child {
    key: String,
    /// The value itself is wanted, in this slot.
    slot: Option<usize>,
    /// Something inside it is.
    inside: Node,
}

impl Node {
    /// Adds a dotted name in all the ways in which its dots can be read.
    fn insert(&mut self, name: &str, slot: usize) {
        self.child(name).slot = Some(slot);
        if name.matches('.').count() > DOTS_MAX {
            return;
        }
        for (dot, _) in name.match_indices('.') {
            self.child(&name[..dot]).inside.insert(&name[dot + 1..], slot);
        }
    }

    fn child(&mut self, key: &str) -> &mut Child {
        let at = self.children.iter().position(|child| child.key == key).unwrap_or_else(|| {
            self.children.push(Child { key: key.to_string(), slot: None, inside: Node::default() });
            self.children.len() - 1
        });
        &mut self.children[at]
    }
}

impl JsonParser {
    pub(super) fn new(plan: Plan) -> JsonParser {
        let mut wanted = Node::default();
        for (slot, name) in plan.names().iter().enumerate() {
            wanted.insert(name, slot);
        }
        JsonParser { plan, wanted, scratch: Vec::new() }
    }

    pub(super) fn parse<'a>(&'a mut self, line: &'a [u8]) -> Result<Parsed<'a>, Reject> {
        let mut raw: [Option<&'a str>; SLOTS_MAX] = [None; SLOTS_MAX];
        let mut deserializer = serde_json::Deserializer::from_slice(line);
        let object = ObjectSeed { wanted: &self.wanted, raw: &mut raw };
        let found = object.deserialize(&mut deserializer).and_then(|is_object| {
            deserializer.end()?;
            Ok(is_object)
        });
        match found {
            Ok(true) => {}
            Ok(false) => return Err(RejectKind::NotAnObject.into()),
            Err(error) => return Err(invalid(&error)),
        }
        self.scratch.clear();
        let mut slots = Slots::default();
        for (slot, raw) in slots.iter_mut().zip(raw).take(self.plan.names().len()) {
            *slot = decode(raw, &mut self.scratch).map_err(|error| invalid(&error))?;
        }
        self.plan.assemble(&slots, &mut self.scratch)
    }
}

fn invalid(error: &serde_json::Error) -> Reject {
    Reject { kind: RejectKind::InvalidJson, detail: format!("the line is no JSON: {error}") }
}

/// From a value's JSON text to the text it stands for.
fn decode<'a>(raw: Option<&'a str>, scratch: &mut Vec<u8>) -> serde_json::Result<Value<'a>> {
    let Some(raw) = raw else { return Ok(Value::Missing) };
    Ok(match raw.as_bytes() {
        b"null" => Value::Missing,
        [b'"', text @ .., b'"'] if memchr::memchr(b'\\', text).is_none() => Value::Line(text),
        [b'"', ..] => {
            let text: String = serde_json::from_str(raw)?;
            let start = scratch.len();
            scratch.extend_from_slice(text.as_bytes());
            Value::Scratch(start..scratch.len())
        }
        [b'{' | b'[', ..] => Value::NotText,
        scalar => Value::Line(scalar),
    })
}

/// Walks a value; where it is an object, keeps what is wanted of it. Gives whether it was one.
struct ObjectSeed<'p, 's, 'de> {
    wanted: &'p Node,
    raw: &'s mut [Option<&'de str>; SLOTS_MAX],
}

impl<'de> DeserializeSeed<'de> for ObjectSeed<'_, '_, 'de> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ObjectSeed<'_, '_, 'de> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
        while let Some(child) = map.next_key_seed(KeySeed(self.wanted))? {
            let Some(child) = child else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let Some(slot) = child.slot else {
                map.next_value_seed(ObjectSeed { wanted: &child.inside, raw: self.raw })?;
                continue;
            };
            let value: &'de RawValue = map.next_value()?;
            self.raw[slot] = Some(value.get());
            if !child.inside.children.is_empty() {
                let inside = ObjectSeed { wanted: &child.inside, raw: self.raw };
                inside.deserialize(value).map_err(serde::de::Error::custom)?;
            }
        }
        Ok(true)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<bool, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(false)
    }

    fn visit_unit<E>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_bool<E>(self, _: bool) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_i64<E>(self, _: i64) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_u64<E>(self, _: u64) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_f64<E>(self, _: f64) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_str<E>(self, _: &str) -> Result<bool, E> {
        Ok(false)
    }
}

/// Reads a key and looks it up.
struct KeySeed<'p>(&'p Node);

impl<'de, 'p> DeserializeSeed<'de> for KeySeed<'p> {
    type Value = Option<&'p Child>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'p> Visitor<'_> for KeySeed<'p> {
    type Value = Option<&'p Child>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.children.iter().find(|child| child.key == key))
    }
}

/// The names of all fields of a line, nested ones with dots, down to a bounded depth.
pub(super) fn field_names(line: &[u8]) -> Vec<String> {
    fn visit(value: &serde_json::Value, prefix: &str, depth: usize, names: &mut Vec<String>) {
        const NESTED: usize = 4;
        let serde_json::Value::Object(object) = value else { return };
        for (key, value) in object {
            let name: Cow<'_, str> =
                if prefix.is_empty() { key.into() } else { format!("{prefix}.{key}").into() };
            if value.is_object() && depth < NESTED {
                visit(value, &name, depth + 1, names);
            } else {
                names.push(name.into_owned());
            }
        }
    }
    let mut names = Vec::new();
    if let Ok(value) = serde_json::from_slice(line) {
        visit(&value, "", 0, &mut names);
    }
    names
}

/// Whether the line is a JSON object.
pub(super) fn is_object(line: &[u8]) -> bool {
    let starts = line.trim_ascii_start().first() == Some(&b'{');
    starts && serde_json::from_slice::<IgnoredAny>(line).is_ok()
}
