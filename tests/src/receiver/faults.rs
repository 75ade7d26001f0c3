//! Everything that a customer's server has been known to do to a webhook sender, as one table.

use std::time::Duration;

use pulse_core::outbound::testing::Said;

use super::{Action, Answer, Certificate, Door};

/// The body of the fault `large`, in bytes.
const LARGE: u64 = 100_000_000;
/// Interim answers of the fault `interim_flood`.
const FLOOD: u32 = 100_000;
/// Between two bytes of a slow answer: far below every limit between bytes, so only one on the whole exchange helps.
const DRIBBLE: Duration = Duration::from_millis(100);

/// One way to misbehave.
#[derive(Clone, Debug)]
pub struct Fault {
    /// What it is called.
    pub name: &'static str,
    /// What the name servers say of the receiver's name; `None` means that it is reached by its address.
    pub said: Option<Said>,
    /// What stands before the receiver; `None` means that its port is to be closed.
    pub door: Option<Door>,
    /// What it does with a request, if one comes through.
    pub action: Action,
}

/// All of them, each once. `location` is where redirects point.
pub fn table(location: &str) -> Vec<Fault> {
    let plain = |name, action| Fault { name, said: None, door: Some(Door::Plain), action };
    let behind = |name, door| Fault { name, said: None, door, action: Action::ok() };
    let named = |name, said| Fault { name, said: Some(said), door: Some(Door::Plain), action: Action::ok() };
    vec![
        named("name_unknown", Said::NoSuchName),
        named("name_server_failed", Said::Failed),
        named("name_server_silent", Said::Nothing),
        behind("refuse", None),
        plain("reset_after_request", Action::Reset),
        plain("reset_mid_headers", Action::ResetMidHeaders),
        plain("close_without_answer", Action::Close),
        plain("slow_headers", Action::SlowHeaders(DRIBBLE)),
        plain("slow_body", Action::SlowBody(DRIBBLE)),
        plain("endless_body", Action::EndlessBody),
        plain("large_body", Action::LargeBody(LARGE)),
        plain("garbage", Action::Garbage),
        plain("interim_flood", Action::Interim(FLOOD)),
        plain("no_content_with_body", Action::NoContentWithBody),
        plain("idle_connection_closed", Action::AnswerThenClose(Answer::new(204))),
        plain("hang", Action::Hang),
        behind("self_signed_certificate", Some(Door::Tls(Certificate::SelfSigned))),
        behind("expired_certificate", Some(Door::Tls(Certificate::Expired))),
        behind("certificate_of_another_name", Some(Door::Tls(Certificate::WrongName))),
        behind("tls_stall", Some(Door::TlsStall)),
        plain("redirect_301", Action::redirect(301, location)),
        plain("redirect_302", Action::redirect(302, location)),
        plain("redirect_307", Action::redirect(307, location)),
        plain("redirect_308", Action::redirect(308, location)),
        plain("gone", Action::gone()),
        plain("too_many_wait_none", Action::too_many("0")),
        plain("too_many_wait_for_ever", Action::too_many("999999999")),
        plain("too_many_wait_until_the_past", Action::too_many("Fri, 31 Dec 1999 23:59:59 GMT")),
        plain("too_many_wait_until_the_future", Action::too_many("Fri, 31 Dec 2100 23:59:59 GMT")),
        plain("too_many_wait_garbage", Action::too_many("soon; or 5")),
        plain("unavailable", Action::unavailable(None)),
        plain("unavailable_wait", Action::unavailable(Some("7"))),
        plain("server_error", Action::status(500)),
    ]
}
