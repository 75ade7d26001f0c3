//! `--jq`: a jq program over the JSON form of a result.

use jaq_core::{
    Compiler, Ctx, Filter, Vars, data,
    load::{Arena, File, Loader},
    unwrap_valr,
};
use jaq_json::{Val, read};
use serde_json::Value;

use crate::exit::Failure;

/// Whether the program can be run at all.
pub fn check(program: &str) -> Result<(), Failure> {
    compiled(program).map(drop)
}

fn wrong(program: &str, what: &str) -> Failure {
    Failure::usage(format!("the jq expression {program:?} {what}"))
        .hint("--jq takes the language of jq, for example '.[].name'.")
}

type Data = data::JustLut<Val>;

fn compiled(program: &str) -> Result<Filter<Data>, Failure> {
    let arena = Arena::default();
    let defs = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs());
    let funs = jaq_core::funs().chain(jaq_std::funs()).chain(jaq_json::funs());
    let loaded = Loader::new(defs).load(&arena, File { code: program, path: () });
    let modules = loaded.map_err(|_| wrong(program, "cannot be read"))?;
    Compiler::default().with_funs(funs).compile(modules).map_err(|errors| {
        let names: Vec<String> =
            errors.into_iter().flat_map(|(_, list)| list).map(|(name, _)| name.to_owned()).collect();
        wrong(program, &format!("uses names that do not exist: {}", names.join(", ")))
    })
}

/// The values that the program gives for `input`, each as a line of text: strings as they are, the rest as JSON.
pub fn run(program: &str, input: &Value) -> Result<Vec<String>, Failure> {
    let filter = compiled(program)?;
    let input = read::parse_single(input.to_string().as_bytes())
        .map_err(|_| Failure::unexpected("the result cannot be given to jq"))?;
    let context = Ctx::<Data>::new(&filter.lut, Vars::new([]));
    let mut lines = Vec::new();
    for value in filter.id.run((context, input)).map(unwrap_valr) {
        let text = value.map_err(|error| wrong(program, &format!("fails: {error}")))?.to_string();
        lines.push(match serde_json::from_str::<Value>(&text) {
            Ok(Value::String(plain)) => plain,
            _ => text,
        });
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn strings_are_plain_and_other_values_json() {
        let input = json!([{"name": "a b", "n": 1}, {"name": "c", "n": null}]);
        assert_eq!(run(".[].name", &input).unwrap(), ["a b", "c"]);
        assert_eq!(run(".[] | {n}", &input).unwrap(), [r#"{"n":1}"#, r#"{"n":null}"#]);
        assert_eq!(run("map(.n) | length", &input).unwrap(), ["2"]);
    }

    #[test]
    fn a_bad_program_is_a_usage_error() {
        for bad in [".[", "nosuch", ".[0] | .name.deeper"] {
            assert_eq!(run(bad, &json!([{"name": "a"}])).expect_err(bad).exit_code(), 2);
        }
    }
}
