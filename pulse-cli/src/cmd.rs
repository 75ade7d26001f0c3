//! Commands: arguments become an operation, the client does it, the printer shows the answer.

mod api;
mod audit;
mod ban;
mod change;
mod context;
mod delivery;
mod endpoint;
mod events;
mod help;
mod key;
mod listen;
mod listing;
mod man;
mod org;
mod project;
mod replay;
mod rotate;
mod scan;
mod session;
mod sinks;
mod status;
mod store;
mod token;
mod token_offline;
mod usage;
mod webhook;
mod webhook_offline;

use crate::{
    args::{self, Command, system},
    exit::{Exit, Outcome},
    generate,
    session::Session,
    ui::View,
};

pub(crate) use api::route;
pub use help::TOPICS;

/// How the result of a command is shown; `None` when it may be anything.
fn view(command: &Command) -> Option<&'static View> {
    Some(match command {
        Command::Org(_) => &org::VIEW,
        Command::Project(args::project::Project::RegenerateKeys(_)) => &key::VIEW,
        Command::Project(_) => &project::VIEW,
        Command::Key(args::key::Key::Usage(_)) => &key::USAGE,
        Command::Key(args::key::Key::Scan(_)) => &scan::VIEW,
        Command::Key(_) => &key::VIEW,
        Command::Token(command) => token::view(command),
        Command::Webhook(command) => webhook::view(command),
        Command::Events(_) | Command::Trigger(_) => &events::VIEW,
        Command::Listen(_) => &listen::VIEW,
        Command::Session(command) => session::view(command),
        Command::Ban(_) => &ban::VIEW,
        Command::Usage(_) => &usage::VIEW,
        Command::Audit(_) => &audit::VIEW,
        Command::Status => &status::STATUS,
        Command::Whoami => &status::ME,
        Command::Context(_) => &context::VIEW,
        Command::Config(_) => &context::RULES,
        Command::Admin(_) => &status::ADMIN,
        Command::Store(command) => store::view(command),
        Command::Api(_) | Command::Completions(_) | Command::Man(_) | Command::Help(_) | Command::Generate(_) => {
            return None;
        }
    })
}

/// Runs a command.
pub async fn run(session: &Session, command: Command) -> Outcome {
    session.printer.check(view(&command))?;
    match command {
        Command::Org(command) => org::run(session, command).await,
        Command::Project(command) => project::run(session, command).await,
        Command::Key(command) => key::run(session, command).await,
        Command::Token(command) => token::run(session, command).await,
        Command::Webhook(command) => webhook::run(session, command).await,
        Command::Events(command) => events::run(session, command).await,
        Command::Listen(args) => listen::run(session, args).await,
        Command::Trigger(args) => events::trigger(session, *args).await,
        Command::Session(command) => session::run(session, command).await,
        Command::Ban(command) => ban::run(session, command).await,
        Command::Usage(command) => usage::run(session, command).await,
        Command::Audit(system::Audit::List(args)) => audit::list(session, args).await,
        Command::Status => status::status(session).await,
        Command::Whoami => status::whoami(session).await,
        Command::Context(command) => context::run(session, command),
        Command::Config(command) => context::config(session, &command),
        Command::Admin(system::Admin::Rotate(args)) => status::rotate_admin(session, args).await,
        Command::Store(command) => store::run(session, command).await,
        Command::Api(args) => api::run(session, args).await,
        Command::Completions(args) => man::completions(session, &args),
        Command::Man(args) => man::run(session, &args),
        Command::Help(args) => help::run(session, &args),
        Command::Generate(args) => generate::run(session, &args),
    }
}

/// A command that worked.
const DONE: Outcome = Ok(Exit::Done);
