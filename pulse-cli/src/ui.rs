//! What users see: the printer that owns stdout and stderr, the forms of results, questions, progress.

pub mod form;
pub mod jq;
pub mod list;
pub mod printer;
pub mod progress;
pub mod prompt;
pub mod table;
pub mod timeline;
pub mod view;

pub use printer::Printer;
pub use view::View;
