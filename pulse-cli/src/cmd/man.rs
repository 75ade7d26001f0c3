//! `pulse completions` and `pulse man`.

use super::DONE;
use crate::{
    args::system::{Completions, Man},
    exit::{Failure, Outcome},
    generate,
    session::Session,
};

pub(super) fn completions(session: &Session, args: &Completions) -> Outcome {
    let (name, script) = generate::completion(args.shell)?;
    session.printer.script("completion", &name, &script)?;
    DONE
}

pub(super) fn run(session: &Session, args: &Man) -> Outcome {
    let pages = generate::man_pages()?;
    if let Some(folder) = &args.folder {
        std::fs::create_dir_all(folder)
            .map_err(|cause| Failure::unexpected(format!("{} cannot be made: {cause}", folder.display())))?;
        for (name, page) in &pages {
            let path = folder.join(name);
            std::fs::write(&path, page)
                .map_err(|cause| Failure::unexpected(format!("{} cannot be written: {cause}", path.display())))?;
        }
        let names: Vec<String> = pages.into_iter().map(|(name, _)| name).collect();
        session.printer.script("man", &folder.display().to_string(), &(names.join("\n") + "\n"))?;
        return DONE;
    }
    let parts: Vec<&str> = std::iter::once("pulse").chain(args.command.iter().map(String::as_str)).collect();
    let name = format!("{}.1", parts.join("-"));
    let missing = || Failure::usage(format!("there is no manual page {name}")).hint("pulse help shows the commands.");
    let page = pages.into_iter().find(|(page, _)| *page == name).map(|(_, text)| text).ok_or_else(missing)?;
    session.printer.script("man", &name, &page)?;
    DONE
}
