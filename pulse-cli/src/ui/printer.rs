//! The one owner of stdout and stderr. Results go to stdout in the form that was asked for, everything else to stderr. A
//! reader that closes its pipe has had enough, which is no failure.

use std::{
    cell::RefCell,
    io::{BufWriter, ErrorKind, IsTerminal as _, Write},
    rc::Rc,
};

use anstyle::{AnsiColor, Style};
use clap::builder::StyledStr;
use pulse_core::plane::Answer;
use serde::Serialize;
use serde_json::{Value, json};

use super::{View, form, jq, list::List, table, view};
use crate::{
    args::{Color, Global, Output},
    env::Env,
    exit::{Failure, PARTLY, USAGE},
};

/// Prints. Copies share the two streams.
#[derive(Clone)]
pub struct Printer(Rc<Inner>);

struct Inner {
    out: RefCell<Box<dyn Write>>,
    err: RefCell<Box<dyn Write>>,
    style: Form,
    err_color: bool,
    out_color: bool,
    width: Option<u16>,
    err_terminal: bool,
}

/// The form of results.
#[derive(Clone, Debug, Default)]
pub(super) struct Form {
    pub(super) output: Output,
    pub(super) jq: Option<jq::Program>,
    pub(super) columns: Vec<String>,
    pub(super) no_headers: bool,
    pub(super) quiet: bool,
}

impl std::fmt::Debug for Printer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Printer").field("form", &self.0.style).finish_non_exhaustive()
    }
}

impl Printer {
    /// The printer of an invocation with these options.
    pub fn new(global: &Global, env: &Env) -> Self {
        let form = Form {
            output: global.output,
            jq: global.jq.clone(),
            columns: global.columns.clone(),
            no_headers: global.no_headers,
            quiet: global.quiet,
        };
        Self::with(form, global.color, env)
    }

    /// The printer for faults in the arguments, which say themselves how they want to be told.
    pub fn before_parsing(arguments: &[String], env: &Env) -> Self {
        let pairs = arguments.windows(2).map(|pair| (pair[0].as_str(), pair[1].as_str()));
        let json =
            pairs.clone().any(|(flag, value)| matches!(flag, "-o" | "--output") && matches!(value, "json" | "jsonl"))
                || arguments.iter().any(|text| {
                    matches!(text.as_str(), "-ojson" | "-o=json" | "--output=json" | "-ojsonl" | "--output=jsonl")
                });
        let never = pairs.clone().any(|pair| pair == ("--color", "never"))
            || arguments.iter().any(|text| text == "--color=never");
        let output = if json { Output::Json } else { Output::Table };
        Self::with(Form { output, ..Form::default() }, if never { Color::Never } else { Color::Auto }, env)
    }

    fn with(style: Form, color: Color, env: &Env) -> Self {
        let (out, err) = (std::io::stdout(), std::io::stderr());
        let colored = |terminal: bool| match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => terminal && env.get("NO_COLOR").is_none() && env.get("TERM") != Some("dumb"),
        };
        let (out_terminal, err_terminal) = (out.is_terminal(), err.is_terminal());
        let columns = || env.get("COLUMNS").and_then(|text| text.parse().ok());
        let measured = || comfy_table::Table::new().width();
        Self(Rc::new(Inner {
            width: out_terminal.then(|| columns().or_else(measured).unwrap_or(100)),
            out_color: colored(out_terminal),
            err_color: colored(err_terminal),
            out: RefCell::new(Box::new(BufWriter::with_capacity(1 << 16, out))),
            err: RefCell::new(Box::new(err)),
            style,
            err_terminal,
        }))
    }

    pub(super) fn form(&self) -> &Form {
        &self.0.style
    }

    pub(super) fn surface(&self) -> table::Surface {
        table::Surface { width: self.0.width, no_headers: self.0.style.no_headers }
    }

    /// The width of the terminal that shows the result; none when it is no terminal.
    pub fn width(&self) -> Option<u16> {
        self.0.width
    }

    /// Whether a program reads the result, so that an error is one JSON object.
    pub fn is_machine(&self) -> bool {
        matches!(self.form().output, Output::Json | Output::Jsonl)
    }

    /// Whether a person reads the whole result, so that sentences may follow it.
    pub fn is_prose(&self) -> bool {
        let form = self.form();
        let table = matches!(form.output, Output::Table | Output::Wide);
        table && form.jq.is_none() && !form.quiet && form.columns.is_empty()
    }

    /// Whether progress may be shown: on a terminal, to a person who has not asked for silence.
    pub fn may_show_progress(&self) -> bool {
        self.0.err_terminal && !self.form().quiet && !self.is_machine()
    }

    /// Whether stderr is a terminal.
    pub fn err_is_terminal(&self) -> bool {
        self.0.err_terminal
    }

    /// Whether stderr has colour.
    pub fn err_has_color(&self) -> bool {
        self.0.err_color
    }

    /// Writes a text to stdout, now.
    pub fn text(&self, text: &str) -> Result<(), Failure> {
        let mut out = self.0.out.borrow_mut();
        out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|cause| match cause.kind() {
            ErrorKind::BrokenPipe => Failure::stop(),
            _ => Failure::unexpected(format!("stdout cannot be written: {cause}")),
        })
    }

    /// Writes a line to stderr. Whoever closed it does not read it.
    pub fn note(&self, line: &str) {
        let _ = writeln!(self.0.err.borrow_mut(), "{line}");
    }

    /// Writes a line to stderr for people, unless they have asked for silence. To a program, stderr is for errors.
    pub fn advice(&self, line: &str) {
        if !self.is_machine() {
            self.warning(line);
        }
    }

    /// Writes a line to stderr that a program's log should have, too.
    pub fn warning(&self, line: &str) {
        if !self.form().quiet {
            self.note(line);
        }
    }

    /// Shows one thing.
    pub fn document(&self, view: &View, thing: &impl Serialize) -> Result<(), Failure> {
        let failed = |error: serde_json::Error| Failure::unexpected(error.to_string());
        let value = serde_json::to_value(thing).map_err(failed)?;
        let form = self.form();
        // Straight from the type, whose fields stand in the API's order.
        let text = match form.output {
            _ if form.jq.is_some() || form.quiet => self.rendered(view, &value),
            Output::Json => serde_json::to_string_pretty(thing).map(|text| text + "\n").map_err(failed),
            Output::Jsonl => serde_json::to_string(thing).map(|text| text + "\n").map_err(failed),
            Output::Yaml => form::yaml(thing),
            Output::Table | Output::Wide | Output::Csv | Output::Name => self.rendered(view, &value),
        };
        self.shown(view, &value, text)
    }

    /// Shows one thing that is JSON already.
    pub fn value(&self, view: &View, value: &Value) -> Result<(), Failure> {
        self.shown(view, value, self.rendered(view, value))
    }

    /// Writes a thing's text, and says what becomes of the secret that it may have: it is never shown again, so that a
    /// text without it must not pass in silence, whatever was asked for.
    fn shown(&self, view: &View, thing: &Value, text: Result<String, Failure>) -> Result<(), Failure> {
        let secret = |(field, another)| Some((field, view::at(thing, field)?.as_str()?, another));
        let secrets: Vec<_> = view.secrets.iter().copied().filter_map(secret).collect();
        let has_it = |secret: &str| text.as_ref().is_ok_and(|text| text.contains(secret));
        let lost: Vec<_> = secrets.iter().filter(|(_, secret, _)| !has_it(secret)).collect();
        let written = match &text {
            Ok(text) => self.text(text),
            Err(_) => text.map(drop),
        };
        for (field, _, another) in &lost {
            self.note(&format!(
                "warning: the result leaves {field} out, which is never shown again; {another} makes another"
            ));
        }
        match secrets.len() {
            0 => {}
            1 if lost.is_empty() => self.advice("The secret is shown this once: keep it now."),
            _ if lost.is_empty() => self.advice("The secrets are shown this once: keep them now."),
            _ => {}
        }
        written
    }

    fn rendered(&self, view: &View, value: &Value) -> Result<String, Failure> {
        let form = self.form();
        if let Some(program) = &form.jq {
            return Ok(joined(program.run(value)?));
        }
        // What is foretold by a dry run stands one level deeper.
        let thing = value.get("result").filter(|_| value.get("dry_run").is_some()).unwrap_or(value);
        if form.quiet {
            return Ok(view::cell(view::at(thing, view.id)) + "\n");
        }
        Ok(match form.output {
            Output::Json => form::json(value),
            Output::Jsonl => format!("{value}\n"),
            Output::Yaml => form::yaml(value)?,
            Output::Name => {
                let name = view::at(thing, view.name).or_else(|| view::at(thing, view.id));
                view::cell(name) + "\n"
            }
            Output::Csv => {
                let fields = self.fields(view)?;
                let header = if form.no_headers { String::new() } else { form::csv_header(&fields)? };
                header + &form::csv_row(&fields, thing)?
            }
            Output::Table | Output::Wide => {
                table::lines(self.surface(), &self.fields(view)?, &view.for_people(thing.clone()))
            }
        })
    }

    /// Shows what a change came to, or would come to.
    pub fn answer<T: Serialize>(&self, view: &View, answer: Answer<T>) -> Result<(), Failure> {
        match answer {
            // Whatever cannot be shown now: the change was made.
            Answer::Done { output, .. } => self.document(view, &output).map_err(|failure| match failure.exit_code() {
                USAGE => failure.exit(PARTLY).hint("The change was made; only its result could not be shown."),
                _ => failure,
            }),
            Answer::DryRun(dry) => {
                let effects: Vec<String> = dry.effects.iter().map(|(what, count)| counted(*count, what)).collect();
                let effects =
                    if effects.is_empty() { String::new() } else { format!(" (touches: {})", effects.join(", ")) };
                self.document(view, &dry)?;
                self.advice(&format!("dry run: nothing was changed{effects}"));
                Ok(())
            }
        }
    }

    /// Shows that there is nothing to show: to a program a `null`, to a person nothing.
    pub fn nothing(&self) -> Result<(), Failure> {
        let form = self.form();
        match form.output {
            _ if form.quiet => Ok(()),
            Output::Json | Output::Jsonl | Output::Yaml => self.text("null\n"),
            Output::Table | Output::Wide | Output::Csv | Output::Name => Ok(()),
        }
    }

    /// Refuses columns that nothing of this kind has, before a change is made whose result could not be shown.
    pub fn check(&self, view: Option<&View>) -> Result<(), Failure> {
        let form = self.form();
        let Some(view) = view else { return Ok(()) };
        let known = view.fields();
        let unknown = |column: &&String| !known.contains(&column.trim().split('.').next().unwrap_or_default());
        match form.columns.iter().find(unknown) {
            None => Ok(()),
            Some(column) => Err(Failure::usage(format!("there is no field {:?} to show", column.trim()))
                .hint(format!("Fields: {}.", known.join(", ")))
                .detail("fields", known)),
        }
    }

    /// Begins a list.
    pub fn list<'a>(&'a self, view: &'a View) -> Result<List<'a>, Failure> {
        List::new(self, view)
    }

    /// The fields of a single thing, or those of `--columns`.
    fn fields<'a>(&'a self, view: &'a View) -> Result<Vec<&'a str>, Failure> {
        let form = self.form();
        if !form.columns.is_empty() {
            return Ok(form.columns.iter().map(|column| column.trim()).collect());
        }
        let detail = if view.detail.is_empty() { [view.list, view.wide].concat() } else { view.detail.to_vec() };
        Ok(detail)
    }

    pub(super) fn lines(&self, lines: Vec<String>) -> Result<(), Failure> {
        self.text(&joined(lines))
    }

    /// Shows a text that is itself the result, such as a script; as a document when a program asks.
    pub fn script(&self, kind: &str, name: &str, text: &str) -> Result<(), Failure> {
        match self.form().output {
            Output::Table | Output::Wide | Output::Name | Output::Csv if self.form().jq.is_none() => self.text(text),
            _ => self.value(&View::new(&[], &[]), &json!({ "kind": kind, "name": name, "text": text })),
        }
    }

    /// Says what went wrong.
    pub fn failure(&self, failure: &Failure) {
        let _ = self.0.out.borrow_mut().flush();
        if failure.is_silent() {
            return;
        }
        if self.is_machine() {
            return self.note(&failure.json().to_string());
        }
        for (label, text) in failure.lines() {
            let red = Style::new().fg_color(Some(AnsiColor::Red.into())).bold();
            let text = text.lines().map(view::visible).collect::<Vec<_>>().join("\n    ");
            match label {
                "error: " if self.0.err_color => self.note(&format!("{red}error:{red:#} {text}")),
                label => self.note(&format!("{label}{text}")),
            }
        }
    }

    /// Help or the version, on stdout.
    pub fn help(&self, text: &StyledStr) -> u8 {
        let text = if self.0.out_color { text.ansi().to_string() } else { text.to_string() };
        match self.text(&text) {
            Ok(()) => 0,
            Err(failure) => failure.exit_code(),
        }
    }

    /// What is wrong with the arguments, on stderr.
    pub fn usage(&self, text: &StyledStr) {
        let text = if self.0.err_color { text.ansi().to_string() } else { text.to_string() };
        self.note(text.trim_end());
    }
}

fn joined(lines: Vec<String>) -> String {
    lines.into_iter().map(|line| line + "\n").collect()
}

/// So many of something, whose name is in the plural: `1 key`, `2 keys`.
pub(crate) fn counted(count: u64, what: &str) -> String {
    let singular = |word: &str| {
        let one = word.strip_suffix("ies").map(|start| format!("{start}y"));
        one.or_else(|| word.strip_suffix('s').map(str::to_owned))
    };
    let mut words: Vec<String> = what.split('_').map(str::to_owned).collect();
    // The first word in the plural: adjectives may stand before it or after it.
    let plural = words.iter_mut().find_map(|word| singular(word.as_str()).map(|one| (word, one)));
    if let Some((word, one)) = plural.filter(|_| count == 1) {
        *word = one;
    }
    format!("{count} {}", words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_is_not_many() {
        assert_eq!(
            [counted(1, "keys"), counted(1, "keys_left"), counted(0, "projects"), counted(1, "live_rooms")],
            ["1 key", "1 key left", "0 projects", "1 live room"]
        );
        assert_eq!(
            [counted(2, "live_rooms"), counted(1, "deliveries_pending")],
            ["2 live rooms", "1 delivery pending"]
        );
    }
}
