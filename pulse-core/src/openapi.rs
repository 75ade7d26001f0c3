//! The OpenAPI 3.1 document, built from the registry. Nothing about an operation is said here that its struct does not say.

mod events;
mod markdown;

pub use events::events;
pub use markdown::page;
use serde_json::{Map, Value, json};

use crate::{
    error::{CODES, Problem},
    op::Meta,
    registry::{OPERATIONS, Route},
    wire,
};

/// The document for this version.
pub fn document() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    let mut schemas = Map::new();
    schemas.insert("Problem".into(), wire::answer_schema::<Problem>());
    for route in OPERATIONS.iter() {
        schemas.insert(route.meta.id.into(), answer(route));
        let path = paths.entry(route.meta.path).or_insert_with(|| json!({}));
        path[route.meta.method.name().to_lowercase()] = operation(route);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Pulse",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "A self-hosted control plane for LiveKit.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer", "description": "pulse_secret_... of a key, or the operator's token" },
                "basic": { "type": "http", "scheme": "basic", "description": "pulse_key_... as user, pulse_secret_... as password" },
                "key": { "type": "apiKey", "in": "header", "name": "X-Pulse-Key" },
                "secret": { "type": "apiKey", "in": "header", "name": "X-Pulse-Secret" },
            },
        },
    })
}

fn operation(route: &Route) -> Value {
    let meta = &route.meta;
    let schema = route.schema().json();
    let (resource, _) = meta.id.split_once('.').unwrap_or((meta.id, ""));
    let mut operation = json!({
        "operationId": meta.id,
        "summary": meta.summary,
        "tags": [resource],
        "parameters": parameters(meta, schema),
        "responses": responses(meta),
        "x-pulse-permissions": meta.permissions.iter().map(|permission| permission.name()).collect::<Vec<_>>(),
        "x-pulse-cost": meta.cost,
    });
    if meta.streams {
        // What comes in which frame cannot be said by a schema.
        operation["description"] = schema["description"].clone();
    }
    if let Some(action) = meta.action {
        operation["x-pulse-audit"] = action.into();
    }
    let credentials = json!([{ "bearer": [] }, { "basic": [] }, { "key": [], "secret": [] }]);
    operation["security"] = credentials;
    if meta.permissions.is_empty() && meta.id != "me.get" {
        operation["security"] = json!([{}, { "bearer": [] }, { "basic": [] }, { "key": [], "secret": [] }]);
    }
    if meta.method.has_body() {
        let body = without(schema, meta);
        let required = body["required"].as_array().is_some_and(|required| !required.is_empty());
        operation["requestBody"] =
            json!({ "required": required, "content": { "application/json": { "schema": body } } });
    }
    operation
}

/// The schema of the body: without the fields that travel in the path.
fn without(schema: &Value, meta: &Meta) -> Value {
    let mut body = schema.clone();
    if let Some(fields) = body.as_object_mut() {
        fields.remove("$schema");
        fields.remove("title");
    }
    for name in meta.path_fields() {
        if let Some(properties) = body["properties"].as_object_mut() {
            properties.remove(name);
        }
        if let Some(required) = body["required"].as_array_mut() {
            required.retain(|field| field != name);
        }
    }
    body
}

/// What the header of a stream means.
const GO_ON: &str = "Go on after this event.";

fn parameters(meta: &Meta, schema: &Value) -> Vec<Value> {
    let in_path: Vec<&str> = meta.path_fields().collect();
    let required =
        |name: &str| schema["required"].as_array().is_some_and(|fields| fields.iter().any(|field| field == name));
    let mut parameters = Vec::new();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let place = match (in_path.contains(&name.as_str()), meta.method.has_body()) {
            (true, _) => "path",
            (false, false) => "query",
            (false, true) => continue,
        };
        parameters.push(json!({
            "name": name,
            "in": place,
            "required": place == "path" || required(name),
            "description": field["description"],
            "schema": field,
        }));
    }
    if meta.streams {
        parameters.push(json!({
            "name": "Last-Event-ID", "in": "header", "required": false,
            "schema": { "type": "string", "description": GO_ON },
            "description": GO_ON,
        }));
    }
    if meta.is_mutation() {
        parameters.push(json!({
            "name": "dry_run", "in": "query", "required": false, "schema": { "type": "boolean" },
            "description": "Do everything but the commit, and tell what would happen.",
        }));
        if meta.method == crate::op::Method::Post {
            parameters.push(json!({
                "name": "Idempotency-Key", "in": "header", "required": false,
                "schema": { "type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$" },
                "description": "The same key with the same request gives the same answer for a day.",
            }));
        }
        if meta.versioned {
            parameters.push(json!({
                "name": "If-Match", "in": "header", "required": false,
                "schema": { "type": "string", "pattern": "^(\"[0-9]{1,19}\"|\\*)$" },
                "description": "Change only this version: the ETag that was read.",
            }));
        }
    }
    parameters
}

/// The schema of what an operation answers; it stands in the document under the operation's id.
fn answer(route: &Route) -> Value {
    let mut schema = route.answer_schema();
    if let Some(fields) = schema.as_object_mut() {
        fields.remove("$schema");
    }
    schema
}

/// The schema of [`crate::plane::DryRun`] around an answer.
fn dry_run(answer: &Value) -> Value {
    json!({
        "type": "object",
        "required": ["dry_run", "result", "effects"],
        "properties": {
            "dry_run": { "const": true },
            "result": answer,
            "effects": {
                "description": "How many of each thing would be touched.",
                "type": "object",
                "additionalProperties": { "type": "integer", "minimum": 0 },
            },
        },
    })
}

/// Statuses that any operation may answer, with the codes behind each.
fn responses(meta: &Meta) -> Value {
    let answer = json!({ "$ref": format!("#/components/schemas/{}", meta.id) });
    let successes = match (meta.is_mutation(), meta.status) {
        (false, status) => vec![(status, meta.summary, answer)],
        (true, 200) => vec![(200, meta.summary, json!({ "anyOf": [answer, dry_run(&answer)] }))],
        (true, status) => vec![(200, "What a dry run tells", dry_run(&answer)), (status, meta.summary, answer)],
    };
    let mut responses = Map::new();
    for (status, description, schema) in successes {
        let shown = if meta.streams {
            json!({ "description": description, "content": { "text/event-stream": { "schema": { "type": "string" } } } })
        } else {
            json!({ "description": description, "content": { "application/json": { "schema": schema } } })
        };
        responses.insert(status.to_string(), shown);
    }
    for status in ERRORS.into_iter().filter(|status| may_answer(meta, *status)) {
        let codes: Vec<&str> = CODES.iter().filter(|info| info.status == status).map(|info| info.name).collect();
        responses.insert(
            status.to_string(),
            json!({
                "description": codes.join(", "),
                "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } },
            }),
        );
    }
    Value::Object(responses)
}

/// Statuses of errors that an operation may answer.
const ERRORS: [u16; 15] = [400, 401, 403, 404, 405, 408, 409, 410, 412, 413, 415, 422, 429, 431, 503];

/// Whether an operation may answer this error: what has no body cannot have a wrong one, and what changes nothing is not
/// at odds with what is stored.
fn may_answer(meta: &Meta, status: u16) -> bool {
    match status {
        408 | 413 | 415 => meta.method.has_body(),
        409 => meta.method.has_body() || meta.is_mutation(),
        412 => meta.is_mutation(),
        _ => true,
    }
}
