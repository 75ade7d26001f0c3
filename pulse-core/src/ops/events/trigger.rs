//! Made-up events: one of any type, with a realistic body, to everybody who is subscribed. They are marked `test` in the
//! envelope, belong to no session, have no number, and are never billed.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::catalogue::{EventType, TYPES};
use crate::{
    access::Permission,
    error::{Error, Fault, Result},
    id::{EventId, ProjectId},
    ingest::{Audience, NewEvent, Outbox, Recorder, Routes},
    media::room::RoomName,
    model::event::{EventView, PULSE_CLUSTER, SCHEMA_VERSION, TEST_EVENT},
    op::{Cx, Meta, Method, Operation, Planned, Scope, Trail},
    ops::diff::target,
    store::{Batch, Write, schema},
};

/// The most fields that one call sets.
const MAX_SET: usize = 50;
/// The longest `data`, in bytes of JSON.
const MAX_DATA: usize = 65_536;
/// The room of an example that names none.
const ROOM: &str = "standup";

/// Make an event up and send it to the endpoints that want its type.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TriggerEvent {
    /// The project; a project's key implies it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_id: Option<ProjectId>,
    /// The type: docs/EVENTS.md has them all, with the body that each gets here.
    #[serde(rename = "type")]
    #[schemars(length(min = 1, max = 64))]
    pub event_type: String,
    /// The room, everywhere where the event names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<RoomName>,
    /// Other values in `data`, by path: `{"participant.identity": "bob"}`; a number is a place in a list, `null` leaves a
    /// field out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 50))]
    pub set: BTreeMap<String, Value>,
}

impl TriggerEvent {
    fn kind(&self) -> Result<&'static EventType> {
        // A test of an endpoint is its alone.
        let known = || TYPES.iter().filter(|kind| kind.name != TEST_EVENT);
        known().find(|kind| kind.name == self.event_type).ok_or_else(|| {
            let known: Vec<_> = known().map(|kind| kind.name).collect();
            Error::invalid_field("type", "unknown", format!("is not a type of event; these are: {}", known.join(", ")))
        })
    }

    /// The example's `data` with the caller's values.
    fn data(&self, kind: &EventType, cx: &Cx<'_>) -> Result<Value> {
        let mut data = kind.data_at(cx.now);
        if let Some(room) = &self.room {
            name_room(&mut data, room.as_str());
        }
        let mut faults = Vec::new();
        if self.set.len() > MAX_SET {
            return Err(Error::invalid_field("set", "too_many", format!("must set at most {MAX_SET} fields")));
        }
        for (path, value) in &self.set {
            if place(&mut data, path, value.clone()).is_none() {
                faults.push(unknown(path));
            }
        }
        let read = match kind.read(&data) {
            Ok(read) => read,
            Err((path, why)) => {
                faults.push(Fault::new(format!("set.{path}"), "invalid", why));
                return Err(Error::invalid(faults));
            }
        };
        // What the type does not have is not in what it comes to, nor is what is empty.
        let lost = |(path, value): &(&String, &Value)| at(&read, path).is_none() && !is_empty(value);
        let lost: Vec<Fault> = self.set.iter().filter(lost).map(|(path, _)| unknown(path)).collect();
        faults.extend(lost.into_iter().filter(|fault| !faults.contains(fault)).collect::<Vec<_>>());
        if let Some(named) = named_room(&read).filter(|name| name.parse::<RoomName>().is_err()) {
            faults.push(Fault::new("set", "invalid", format!("{named:?} cannot be the name of a room")));
        }
        if data.to_string().len() > MAX_DATA {
            faults.push(Fault::new("set", "too_long", format!("must leave data shorter than {MAX_DATA} bytes")));
        }
        if faults.is_empty() { Ok(read) } else { Err(Error::invalid(faults)) }
    }
}

fn unknown(path: &str) -> Fault {
    Fault::new(format!("set.{path}"), "unknown_field", "is not a field in the data of such an event")
}

/// Whether a value says that there is nothing.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// The room that the data name.
fn named_room(data: &Value) -> Option<&str> {
    ["/room/name", "/egress/room_name", "/ingress/room_name"]
        .into_iter()
        .find_map(|pointer| data.pointer(pointer)?.as_str())
}

/// Gives the room another name wherever it is named.
fn name_room(data: &mut Value, name: &str) {
    for (part, field) in [("room", "name"), ("egress", "room_name"), ("ingress", "room_name")] {
        if let Some(named) = data.get_mut(part).and_then(|part| part.get_mut(field)) {
            *named = name.into();
        }
    }
}

/// What stands at a path of names and places in lists.
fn at<'a>(data: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(data, |inside, name| match inside {
        Value::Array(items) => items.get(name.parse::<usize>().ok()?),
        other => other.get(name),
    })
}

/// Puts a value at a path; objects on the way are made. `None` where there is no such place.
fn place(data: &mut Value, path: &str, value: Value) -> Option<()> {
    let (way, last) = path.rsplit_once('.').map_or((None, path), |(way, last)| (Some(way), last));
    let mut inside = data;
    for name in way.into_iter().flat_map(|way| way.split('.')) {
        inside = match inside {
            Value::Array(items) => items.get_mut(name.parse::<usize>().ok()?)?,
            Value::Object(fields) => fields.entry(name).or_insert_with(|| Value::Object(serde_json::Map::new())),
            _ => return None,
        };
    }
    match inside {
        Value::Array(items) => *items.get_mut(last.parse::<usize>().ok()?)? = value,
        Value::Object(fields) if value.is_null() => drop(fields.remove(last)),
        Value::Object(fields) => drop(fields.insert(last.to_owned(), value)),
        _ => return None,
    }
    Some(())
}

impl Operation for TriggerEvent {
    type Output = EventView;
    const META: Meta = Meta::mutation(
        "events.trigger",
        Method::Post,
        "/v1/events/trigger",
        &[Permission::WebhooksWrite],
        "Make an event up and send it to the endpoints that want its type",
    )
    .creates();

    fn scope(&self) -> Scope {
        Scope::CallerProject(self.project_id)
    }

    async fn plan(&self, cx: &Cx<'_>) -> Result<Planned<EventView>> {
        let tenant = cx.tenant()?;
        tenant.check_usable()?;
        let kind = self.kind()?;
        let data = self.data(kind, cx)?;
        let in_example = || self.room.clone().or_else(|| ROOM.parse().ok());
        let room = if kind.is_operational() {
            None
        } else {
            named_room(&data).and_then(|name| name.parse().ok()).or_else(in_example)
        };
        let new = NewEvent {
            kind: kind.name,
            occurred_at: cx.now,
            cluster: PULSE_CLUSTER,
            // Its own: what is made up is never the same as another.
            source_id: &format!("trigger:{}", EventId::new(cx.now, cx.parts.entropy.as_ref())),
            room: room.as_ref(),
            session_id: None,
            synthetic: false,
            test: true,
            corrects: None,
            data: &data,
        };
        let routes = Routes::default();
        let recorder = Recorder { parts: cx.parts, routes: &routes, dispatcher: None, tenant, now: cx.now };
        let mut batch = Batch::new();
        let id = recorder.record(new, Audience::Subscribed, &mut batch, &mut Outbox::default()).await?;
        let to_deliver = |write: &&Write| write.collection().name == schema::DELIVERIES.name;
        let deliveries = batch.writes.iter().filter(to_deliver).count();
        let project = target("project", tenant.project.id, Some(tenant.project.name.to_string()));
        let trail = Trail {
            org: Some(tenant.org.id),
            targets: vec![target("event", id, Some(kind.name.to_owned())), project],
            changes: Vec::new(),
        };
        let view = EventView {
            sequence: None,
            id,
            kind: kind.name.to_owned(),
            schema_version: SCHEMA_VERSION,
            created_at: cx.now,
            project_id: tenant.project.id,
            room,
            session_id: None,
            synthetic: false,
            test: true,
            corrects: None,
            data,
        };
        Ok(Planned::write(view, batch, trail).touching("deliveries", deliveries as u64))
    }
}
