//! What is made from the command line's definition and kept in the repository: completion scripts, manual pages, and the
//! reference `docs/CLI.md`. A check tells when one is not as it would be written.

use std::{fmt::Write as _, fs, path::Path};

use clap::{Command, CommandFactory as _};
use clap_complete::env::{Bash, EnvCompleter, Fish, Powershell, Zsh};

use crate::{
    args::{
        Cli,
        system::{self, Shell},
    },
    exit::{Exit, Failure, MEANINGS, Outcome},
    session::Session,
};

/// A generated file: its path in the repository and its text.
type Generated = (String, String);

/// Writes or checks every generated file.
pub fn run(session: &Session, args: &system::Generate) -> Outcome {
    let files = files()?;
    let mut stale: Vec<String> = extra_pages(&args.root, &files);
    if !args.check {
        let removed = stale.iter().try_for_each(|path| fs::remove_file(args.root.join(path)));
        removed.map_err(|cause| Failure::unexpected(format!("an old manual page cannot be removed: {cause}")))?;
    }
    for (path, text) in &files {
        let full = args.root.join(path);
        if fs::read_to_string(&full).is_ok_and(|found| found == *text) {
            continue;
        }
        stale.push(path.clone());
        if !args.check {
            let failed = |cause: std::io::Error| Failure::unexpected(format!("{path} cannot be written: {cause}"));
            full.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&full, text)).map_err(failed)?;
        }
    }
    if args.check && !stale.is_empty() {
        return Err(Failure::new(1, "stale", format!("these are not as they would be written: {}", stale.join(", ")))
            .hint("Run pulse generate, and commit what it writes.")
            .detail("files", stale));
    }
    let list = stale.iter().map(|path| format!("{path}\n")).collect::<String>();
    session.printer.script("generated", "files", &list)?;
    Ok(Exit::Done)
}

/// Manual pages of commands that are no more.
fn extra_pages(root: &Path, files: &[Generated]) -> Vec<String> {
    let entries = fs::read_dir(root.join("man")).into_iter().flatten().filter_map(Result::ok);
    let names = entries.map(|entry| format!("man/{}", entry.file_name().to_string_lossy()));
    names.filter(|name| name.ends_with(".1") && files.iter().all(|(path, _)| path != name)).collect()
}

fn files() -> Result<Vec<Generated>, Failure> {
    let mut files = Vec::new();
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::Powershell] {
        let (name, text) = completion(shell)?;
        files.push((format!("completions/{name}"), text));
    }
    files.extend(man_pages()?.into_iter().map(|(name, text)| (format!("man/{name}"), text)));
    files.push(("docs/CLI.md".to_owned(), reference()));
    Ok(files)
}

/// The completion script of a shell, and the name that such a file has. The script asks `pulse` itself at each
/// completion, which is how names of projects and keys are completed.
pub fn completion(shell: Shell) -> Result<Generated, Failure> {
    let (name, completer): (&str, &dyn EnvCompleter) = match shell {
        Shell::Bash => ("pulse.bash", &Bash),
        Shell::Zsh => ("_pulse", &Zsh),
        Shell::Fish => ("pulse.fish", &Fish),
        Shell::Powershell => ("pulse.ps1", &Powershell),
    };
    let mut script = Vec::new();
    let made = completer.write_registration("COMPLETE", "pulse", "pulse", "pulse", &mut script);
    made.map_err(|cause| Failure::unexpected(format!("the script cannot be made: {cause}")))?;
    String::from_utf8(script)
        .map(|script| (name.to_owned(), script))
        .map_err(|_| Failure::unexpected("the script is not UTF-8"))
}

/// Every manual page, by file name.
pub fn man_pages() -> Result<Vec<Generated>, Failure> {
    let mut root = Cli::command();
    root.build();
    let mut pages = Vec::new();
    walk(&root, "pulse", &mut |command, path| {
        let name = path.replace(' ', "-");
        // Names stay as they were typed: the page of `key rotate` is about `pulse key rotate`.
        let closing = command.get_after_long_help().or_else(|| command.get_after_help());
        let closing = closing.map(|text| closing_sections(&text.to_string())).unwrap_or_default();
        let command = command.clone().name(name.clone()).bin_name(path.to_owned()).display_name(name.clone());
        // What follows the options is ours: clap_mangen would fill it like prose, examples and all.
        let command = command.after_help(None).after_long_help(None);
        let mut page = Vec::new();
        let man = clap_mangen::Man::new(command)
            .date("")
            .source(concat!("pulse ", env!("CARGO_PKG_VERSION")))
            .manual("Pulse");
        man.render(&mut page)
            .map_err(|cause| Failure::unexpected(format!("the page {name} cannot be made: {cause}")))?;
        let page = String::from_utf8(page).map_err(|_| Failure::unexpected("a page is not UTF-8"))?;
        // Lines of a synopsis may break between alternatives, which have no space there, and are not spread out.
        let page = page
            .replace("\\fR|\\fB", "\\fR|\\:\\fB")
            .replace(".SH SYNOPSIS\n", ".SH SYNOPSIS\n.ad l\n")
            .replace(".SH DESCRIPTION\n", ".ad\n.SH DESCRIPTION\n");
        pages.push((format!("{name}.1"), page + &closing));
        Ok(())
    })?;
    Ok(pages)
}

/// The text after the options as sections of a manual page: examples line by line, as they are typed, the rest as prose.
fn closing_sections(text: &str) -> String {
    let (mut notes, mut examples) = (String::new(), String::new());
    for paragraph in text.split("\n\n") {
        let lines = |text: &str| text.lines().map(|line| roff_line(line) + "\n").collect::<String>();
        match paragraph.strip_prefix("Examples:\n") {
            Some(commands) => {
                let _ = write!(examples, ".SH EXAMPLES\n.nf\n{}.fi\n", lines(commands));
            }
            None => {
                let start = if notes.is_empty() { ".SH NOTES" } else { ".PP" };
                let _ = write!(notes, "{start}\n{}", lines(paragraph));
            }
        }
    }
    notes + &examples
}

/// A line that roff shows as it is: no escapes, no request, no hyphen for a minus.
fn roff_line(line: &str) -> String {
    let escaped = line.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\*(Aq");
    if escaped.starts_with(['.', '\\']) { format!("\\&{escaped}") } else { escaped }
}

/// `docs/CLI.md`.
fn reference() -> String {
    let mut root = Cli::command().term_width(100);
    root.build();
    let mut text = String::from(
        "# The command line\n\n<!-- Generated by `pulse generate` from pulse-cli/src/args. -->\n\nEvery command takes the options of `pulse` itself, before or after its name; they are listed once, at the top.\n",
    );
    let _ = walk(&root, "pulse", &mut |command, path| {
        let level = "#".repeat((path.split(' ').count() + 1).min(4));
        let mut command = command.clone().term_width(100);
        if path != "pulse" {
            command = command.mut_args(|arg| if arg.is_global_set() { arg.hide(true) } else { arg });
        }
        let help = command.render_long_help().to_string();
        let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
        let _ = write!(text, "\n{level} {path}\n\n```text\n{}\n```\n", lines.join("\n").trim_end());
        Ok(())
    });
    text.push_str("\n## Exit codes\n\n| Code | Meaning |\n|---|---|\n");
    for (code, meaning) in MEANINGS {
        let _ = writeln!(text, "| {code} | {meaning} |");
    }
    text
}

fn walk(
    command: &Command,
    path: &str,
    each: &mut impl FnMut(&Command, &str) -> Result<(), Failure>,
) -> Result<(), Failure> {
    each(command, path)?;
    for child in command.get_subcommands().filter(|child| !child.is_hide_set()) {
        walk(child, &format!("{path} {}", child.get_name()), each)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_of_a_manual_page_stand_as_they_are_typed() {
        let text = closing_sections("One\n.two.\n\nExamples:\n  pulse x --y 'z' \\\n      -- a\n\nThree");
        let expected = ".SH NOTES\nOne\n\\&.two.\n.PP\nThree\n.SH EXAMPLES\n.nf\n  pulse x \\-\\-y \\*(Aqz\\*(Aq \\e\n      \\-\\- a\n.fi\n";
        assert_eq!(text, expected);
    }
}
