//! Operation <-> (method, path, query, body), both directions, written once for all operations.
//!
//! Path fields come from the path, the rest of `GET` and `DELETE` from the query, the rest of `POST` and `PUT` from a JSON
//! body. Every request is held against the operation's JSON schema: its bounds hold because they are documented, and all
//! faults come back at once. The schema is compiled once, and judging a token request takes a third of a microsecond.

mod faults;
mod json;
mod schema;

use serde_json::{Map, Value, error::Category};
use url::form_urlencoded;

use json::Unambiguous;

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

/// The operation of a request; `422` with every field that is wrong by itself. What is wrong between fields, or with what
/// is stored, is for the plan to say.
pub fn decode<O: Operation>(schema: &OpSchema, incoming: Incoming<'_>) -> Result<O> {
    let mut misplaced = Vec::new();
    let mut fields = Map::new();
    if O::META.method.has_body() {
        fields = body_fields(incoming.body)?;
        let names = form_urlencoded::parse(incoming.query.as_bytes()).map(|(name, _)| name.into_owned());
        misplaced
            .extend(names.map(|name| Fault::new(name, "unknown_field", "is not a query parameter of this operation")));
    } else {
        misplaced.extend(query_fields(schema, incoming.query, &mut fields));
    }
    for (name, text) in incoming.path {
        let other = fields.insert(name.clone(), Value::String(text.clone()));
        if other.is_some() && !O::META.lenient {
            misplaced.push(Fault::new(name, "unknown_field", "belongs into the path only"));
        }
    }
    let fields = Value::Object(fields);
    let mut faults = schema.faults(&fields)?;
    let decoded = O::deserialize(&fields);
    if decoded.is_err() {
        faults.extend(undecodable::<O>(&fields, &faults));
    }
    path_fault_is_not_found::<O>(&faults)?;
    faults.extend(misplaced);
    match decoded {
        Ok(op) if faults.is_empty() => Ok(op),
        _ => Err(Error::invalid(faults)),
    }
}

/// What the operation's own types refuse, unless the schema has said it of the same place.
fn undecodable<O: Operation>(fields: &Value, known: &[Fault]) -> Option<Fault> {
    let cause = serde_path_to_error::deserialize::<_, O>(fields).err()?;
    let at = match cause.path().to_string() {
        root if root == "." => String::new(),
        path => path,
    };
    let said = known.iter().any(|fault| fault.field.starts_with(&at) || at.starts_with(&fault.field));
    (!said).then(|| Fault::new(at, "invalid", cause.inner().to_string()))
}

/// An id in the path that no document can have is not found, as any other unknown id.
fn path_fault_is_not_found<O: Operation>(faults: &[Fault]) -> Result<()> {
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
        Ok(Unambiguous(Value::Object(fields))) => Ok(fields),
        Ok(_) => Err(Error::new(Code::BadRequest, "the body is not a JSON object")),
        Err(cause) => {
            let place = format!("line {}, column {}", cause.line(), cause.column());
            let what = match cause.classify() {
                _ if std::str::from_utf8(body).is_err() => "is not UTF-8",
                Category::Data => "has an object in which a name stands twice",
                Category::Io | Category::Syntax | Category::Eof => "is not well-formed JSON",
            };
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
