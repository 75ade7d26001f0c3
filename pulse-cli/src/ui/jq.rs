//! `--jq`: a jq program over the JSON form of a result. It is compiled when the arguments are read, so that a mistake in it
//! is found before anything is done.

use std::{str::FromStr, sync::Arc};

use jaq_core::{
    Compiler, Ctx, Filter, Vars, data,
    load::{Arena, File, Loader},
    unwrap_valr,
};
use jaq_json::{Val, read};
use serde_json::Value;

use crate::exit::Failure;

/// A program that can be run.
#[derive(Clone)]
pub struct Program {
    text: String,
    filter: Arc<Filter<data::JustLut<Val>>>,
}

impl std::fmt::Debug for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Program").field(&self.text).finish()
    }
}

impl FromStr for Program {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let arena = Arena::default();
        let defs = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs());
        let funs = jaq_core::funs().chain(jaq_std::funs()).chain(jaq_json::funs());
        let modules = Loader::new(defs).load(&arena, File { code: text, path: () });
        let modules = modules.map_err(|_| "it is not an expression of jq, such as '.[].name'".to_owned())?;
        let filter = Compiler::default().with_funs(funs).compile(modules).map_err(|errors| {
            let names: Vec<&str> = errors.into_iter().flat_map(|(_, list)| list).map(|(name, _)| name).collect();
            format!("it uses names that do not exist: {}", names.join(", "))
        })?;
        Ok(Self { text: text.to_owned(), filter: Arc::new(filter) })
    }
}

impl Program {
    /// The values that the program gives for `input`, each as a line of text: strings as they are, the rest as JSON. A
    /// failure does not repeat what the program met: that may be a secret.
    pub fn run(&self, input: &Value) -> Result<Vec<String>, Failure> {
        let input = read::parse_single(input.to_string().as_bytes())
            .map_err(|_| Failure::unexpected("the result cannot be given to jq"))?;
        let context = Ctx::<data::JustLut<Val>>::new(&self.filter.lut, Vars::new([]));
        let mut lines = Vec::new();
        for value in self.filter.id.run((context, input)).map(unwrap_valr) {
            let text = value.map_err(|_| self.failed())?.to_string();
            lines.push(match serde_json::from_str::<Value>(&text) {
                Ok(Value::String(plain)) => plain,
                _ => text,
            });
        }
        Ok(lines)
    }

    fn failed(&self) -> Failure {
        Failure::usage(format!("the jq expression {:?} does not fit the result", self.text))
            .hint("-o json shows the result.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn run(program: &str, input: &Value) -> Vec<String> {
        program.parse::<Program>().unwrap().run(input).unwrap()
    }

    #[test]
    fn strings_are_plain_and_other_values_json() {
        let input = json!([{"name": "a b", "n": 1}, {"name": "c", "n": null}]);
        assert_eq!(run(".[].name", &input), ["a b", "c"]);
        assert_eq!(run(".[] | {n}", &input), [r#"{"n":1}"#, r#"{"n":null}"#]);
        assert_eq!(run("map(.n) | length", &input), ["2"]);
    }

    #[test]
    fn a_bad_program_is_found_before_it_is_run() {
        for bad in [".[", "nosuch", ".name |"] {
            assert!(bad.parse::<Program>().is_err(), "{bad} was taken");
        }
    }

    #[test]
    fn a_program_that_does_not_fit_is_a_usage_error_without_the_values() {
        let program: Program = ".pulse_api_secret.deeper".parse().unwrap();
        let failure = program.run(&json!({ "pulse_api_secret": "hush" })).expect_err("a text has no fields");
        assert_eq!(failure.exit_code(), 2);
        assert!(!failure.json().to_string().contains("hush"), "{:?}", failure.message());
    }
}
