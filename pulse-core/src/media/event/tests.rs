mod odd;
mod random;
mod story;
mod tolerant;

use serde_json::{Value, json};

use super::*;

/// Reads an event from JSON that is one.
fn parse(body: &Value) -> LiveKitEvent {
    LiveKitEvent::parse(body.to_string().as_bytes()).expect("an event")
}

/// An event of that kind with these parts.
fn event(kind: &str, parts: Value) -> Value {
    let mut body = json!({ "event": kind, "id": "EV_1", "createdAt": "1800000000" });
    let Value::Object(parts) = parts else { panic!("parts are an object") };
    body.as_object_mut().unwrap().extend(parts);
    body
}

/// What customers read of it.
fn data(event: &LiveKitEvent) -> Value {
    serde_json::to_value(&event.data).unwrap()
}
