//! Operation <-> (method, path, query, body), both directions, written once for all operations.
//!
//! Path fields come from the path, the rest of `GET` and `DELETE` from the query, the rest of `POST` and `PUT` from a JSON
//! body. A request that does not decode is held against the operation's JSON schema, so that all faults come back at
//! once; a request that decodes never pays for that.

mod faults;
mod schema;

use serde_json::{Map, Value};
use url::form_urlencoded;

pub use schema::{Kind, OpSchema};

/// The JSON schema of an answer.
pub fn answer_schema<T: schemars::JsonSchema>() -> Value {
    schema::of::<T>(true)
}

use crate::{
    error::{Code, Error, Fault, Result},
    op::{Method, Operation},
};

/// A request as a client sends it.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The path, encoded, with the query if there is one.
    pub path: String,
    /// The body, for methods that have one.
    pub body: Option<Value>,
}

/// A request as a server receives it.
#[derive(Clone, Copy, Debug)]
pub struct Incoming<'a> {
    /// Path fields, decoded.
    pub path: &'a [(String, String)],
    /// The query without `?`, encoded.
    pub query: &'a str,
    /// The body.
    pub body: &'a [u8],
}

/// The request of an operation.
pub fn encode<O: Operation>(op: &O) -> Result<Request> {
    let Value::Object(mut fields) = serde_json::to_value(op).map_err(Error::internal)? else {
        return Err(Error::internal("an operation is not an object"));
    };
    let mut path = String::new();
    for part in O::META.path.split('/').skip(1) {
        path.push('/');
        match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
            None => path.push_str(part),
            Some(name) => {
                let value = fields.remove(name).ok_or_else(|| Error::internal(format!("{name} is not a field")))?;
                path.extend(
                    form_urlencoded::byte_serialize(plain(&value).as_bytes())
                        .map(|part| if part == "+" { "%20" } else { part }),
                );
            }
        }
    }
    if O::META.method.has_body() {
        return Ok(Request { method: O::META.method, path, body: Some(Value::Object(fields)) });
    }
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in &fields {
        match value {
            Value::Array(values) => values.iter().for_each(|value| {
                query.append_pair(name, &plain(value));
            }),
            value => {
                query.append_pair(name, &plain(value));
            }
        }
    }
    let query = query.finish();
    if !query.is_empty() {
        path.push('?');
        path.push_str(&query);
    }
    Ok(Request { method: O::META.method, path, body: None })
}

/// A scalar as it stands in a path or a query.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The operation of a request; `422` with every fault when its fields are not valid.
pub fn decode<O: Operation>(schema: &OpSchema, incoming: Incoming<'_>) -> Result<O> {
    let method = O::META.method;
    if method.has_body() && incoming.path.is_empty() && incoming.query.is_empty() {
        // The fast way: nothing to merge, so the body is the operation.
        if let Ok(op) = serde_json::from_slice(body_or_empty(incoming.body)) {
            return Ok(op);
        }
    }
    let mut faults = Vec::new();
    let mut fields = if method.has_body() { body_fields(incoming.body)? } else { Map::new() };
    for (name, _) in incoming.path {
        if fields.contains_key(name) && !O::META.lenient {
            faults.push(Fault::new(name, "unknown_field", "belongs into the path only"));
        }
    }
    if method.has_body() {
        let names = form_urlencoded::parse(incoming.query.as_bytes()).map(|(name, _)| name.into_owned());
        faults
            .extend(names.map(|name| Fault::new(name, "unknown_field", "is not a query parameter of this operation")));
    } else {
        faults.extend(query_fields(schema, incoming.query, &mut fields));
    }
    for (name, text) in incoming.path {
        fields.insert(name.clone(), Value::String(text.clone()));
    }
    let fields = Value::Object(fields);
    let decoded: Result<O, _> = serde_path_to_error::deserialize(&fields);
    match decoded {
        Ok(op) if faults.is_empty() => Ok(op),
        Ok(_) => Err(Error::invalid(faults)),
        Err(cause) => {
            faults.extend(schema.faults(&fields)?);
            if faults.is_empty() {
                faults.push(Fault::new(cause.path().to_string(), "invalid", cause.inner().to_string()));
            }
            path_fault_is_not_found::<O>(&mut faults)?;
            Err(Error::invalid(faults))
        }
    }
}

/// An id in the path that no document can have is not found, as any other unknown id.
fn path_fault_is_not_found<O: Operation>(faults: &mut [Fault]) -> Result<()> {
    match faults.iter().find(|fault| O::META.path_fields().any(|name| name == fault.field)) {
        Some(fault) => Err(Error::new(Code::NotFound, format!("there is nothing with this {}", fault.field))),
        None => Ok(()),
    }
}

fn body_or_empty(body: &[u8]) -> &[u8] {
    if body.trim_ascii().is_empty() { b"{}" } else { body }
}

fn body_fields(body: &[u8]) -> Result<Map<String, Value>> {
    match serde_json::from_slice(body_or_empty(body)) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err(Error::new(Code::BadRequest, "the body is not a JSON object")),
        Err(cause) => {
            let place = format!("line {}, column {}", cause.line(), cause.column());
            let what = if std::str::from_utf8(body).is_err() { "is not UTF-8" } else { "is not well-formed JSON" };
            Err(Error::new(Code::BadRequest, format!("the body {what} ({place})")))
        }
    }
}

/// Puts query parameters into `fields` with the types that the schema says.
fn query_fields(schema: &OpSchema, query: &str, fields: &mut Map<String, Value>) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (name, text) in form_urlencoded::parse(query.as_bytes()) {
        let kind = schema.kind(&name);
        let value = match kind {
            Kind::Integer => text.parse::<i64>().map_or_else(|_| Value::String(text.into_owned()), Value::from),
            Kind::Boolean => text.parse::<bool>().map_or_else(|_| Value::String(text.into_owned()), Value::from),
            Kind::Text | Kind::List => Value::String(text.into_owned()),
        };
        match (kind, fields.get_mut(name.as_ref())) {
            (Kind::List, Some(Value::Array(values))) => values.push(value),
            (Kind::List, _) => drop(fields.insert(name.into_owned(), Value::Array(vec![value]))),
            (_, Some(_)) => faults.push(Fault::new(name, "repeated", "stands more than once in the query")),
            (_, None) => drop(fields.insert(name.into_owned(), value)),
        }
    }
    faults
}
