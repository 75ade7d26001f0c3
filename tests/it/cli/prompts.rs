//! Questions are refused where nobody can answer, and never answered with an implied yes.

use super::{customer, script};

#[test]
fn without_a_terminal_the_flag_is_named() {
    let cli = customer();
    insta::assert_snapshot!(script(
        &cli,
        &[
            &["project", "delete", "standup"],
            &["project", "delete", "standup", "--yes"],
            &["project", "delete", "standup", "--confirm", "Standup"],
            &["org", "delete", "acme"],
            &["key", "rotate", "default", "--project", "standup"],
            &["key", "revoke", "default", "--project", "standup", "--no-input"],
            &["project", "suspend", "standup", "--reason", "unpaid"],
            &["project", "regenerate-keys", "standup"],
            &["token", "revoke", "--project", "standup", "--every"],
            &["admin", "rotate"],
            &["project", "list", "--columns", "name,state"],
        ]
    ));
}
