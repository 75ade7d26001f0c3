//! `pulse webhook`: which command it is, and the test of an endpoint.

use std::time::Duration;

use pulse_core::{
    deliver::state::Status,
    id::{DeliveryId, ProjectId},
    model::delivery::DeliveryView,
    ops::{
        deliveries::GetDelivery,
        endpoints::{TestEndpoint, TestSent},
    },
    plane::Answer,
};

use super::{DONE, delivery, endpoint, replay, webhook_offline};
use crate::{
    args::webhook::{Test, Webhook, delivery::Delivery},
    client::{CallOptions, Client},
    exit::{AWAITED_FAILED, Failure, Outcome, WAITED_TOO_LONG},
    session::Session,
    ui::View,
};

/// How often a delivery is looked at that is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(250);

const SENT: View = View::new(&["delivery_id", "event_id"], &[]).id("delivery_id");

/// How the result of a command is shown.
pub(super) fn view(command: &Webhook) -> &'static View {
    match command {
        Webhook::Endpoint(_) => &endpoint::VIEW,
        Webhook::Delivery(Delivery::Attempts(_)) => &delivery::ATTEMPTS,
        Webhook::Delivery(_) => &delivery::VIEW,
        Webhook::Replay(_) => &replay::VIEW,
        Webhook::Test(args) if args.wait => &delivery::VIEW,
        Webhook::Test(_) => &SENT,
        Webhook::Verify(_) => &webhook_offline::VERDICT,
        Webhook::Sign(_) => &webhook_offline::SIGNED,
    }
}

pub(super) async fn run(session: &Session, command: Webhook) -> Outcome {
    match command {
        Webhook::Endpoint(command) => endpoint::run(session, command).await,
        Webhook::Delivery(command) => delivery::run(session, command).await,
        Webhook::Replay(args) => replay::run(session, *args).await,
        Webhook::Test(args) => test(session, args).await,
        Webhook::Verify(args) => webhook_offline::verify(session, &args),
        Webhook::Sign(args) => webhook_offline::sign(session, &args),
    }
}

async fn test(session: &Session, args: Test) -> Outcome {
    let client = session.client().await?;
    let (project_id, id) = endpoint::named(session, client, &args.which).await?;
    let op = TestEndpoint { id, project_id: Some(project_id) };
    let answer = client.call(&op, CallOptions::dry(args.change.dry_run)).await?;
    match answer {
        Answer::Done { output, .. } if args.wait => {
            let ended = wait(session, client, project_id, &output, args.timeout.0).await?;
            session.printer.document(&delivery::VIEW, &ended)?;
        }
        Answer::Done { output, replayed } => {
            let id = output.delivery_id;
            session.printer.answer(&SENT, Answer::Done { output, replayed })?;
            session.printer.advice(&delivery::what_becomes_of(id, project_id));
        }
        answer @ Answer::DryRun(_) => session.printer.answer(&SENT, answer)?,
    }
    DONE
}

/// Waits until the endpoint has answered. An answer that it did not take the event is a failure, and so is none in time.
async fn wait(
    session: &Session,
    client: &Client,
    project: ProjectId,
    sent: &TestSent,
    patience: Duration,
) -> Result<DeliveryView, Failure> {
    session.printer.advice("waiting for the endpoint's answer");
    let look = async {
        loop {
            let get = GetDelivery { id: sent.delivery_id, project_id: Some(project) };
            let delivery = client.ask(&get).await?.delivery;
            if delivery.status.is_terminal() || delivery.attempts_made > 0 {
                return Ok::<_, Failure>(delivery);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    let found = tokio::time::timeout(patience, look).await;
    let delivery = found.map_err(|_| too_long(sent.delivery_id, project, patience))??;
    if delivery.status == Status::Succeeded { Ok(delivery) } else { Err(not_taken(&delivery)) }
}

fn too_long(id: DeliveryId, project: ProjectId, patience: Duration) -> Failure {
    Failure::new(
        WAITED_TOO_LONG,
        "wait_timed_out",
        format!("the endpoint has not answered within {} s", patience.as_secs()),
    )
    .hint(delivery::what_becomes_of(id, project))
    .detail("delivery_id", id.to_string())
}

fn not_taken(delivery: &DeliveryView) -> Failure {
    let why = delivery.last_result.as_deref().unwrap_or(delivery.status.name());
    let (id, project) = (delivery.id, delivery.project_id);
    Failure::new(AWAITED_FAILED, "delivery_failed", format!("the endpoint did not take the test event: {why}"))
        .hint(format!("pulse webhook delivery attempts {id} --project {project} shows what it answered."))
        .detail("delivery_id", id.to_string())
        .detail("status", delivery.status.name())
        .detail("last_result", why)
}
