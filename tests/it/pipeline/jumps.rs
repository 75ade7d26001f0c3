//! A wall clock that somebody sets by an hour while deliveries wait and are under way. What waits goes by the time that
//! passes: nothing comes early, nothing stands still for an hour, and nothing comes all at once.

use std::time::Duration;

use pulse_core::{
    deliver::{breaker::BreakerState, pace::EndpointRate, schedule::Schedule, state::Status},
    model::delivery::AttemptResult,
};
use pulse_tests::{
    plane::{Customer, TestPlane},
    receiver::{Action, Behaviour, Gate, Receiver},
};

use super::{attempts, count, delivery, endpoint, joined, work};

const HOUR: Duration = Duration::from_secs(3_600);

/// Which way the clock is set.
#[derive(Clone, Copy, Debug)]
enum Jump {
    Ahead,
    Back,
}

impl Jump {
    const BOTH: [Self; 2] = [Self::Ahead, Self::Back];

    fn make(self, t: &TestPlane) {
        let now = t.plane.parts().clock.now();
        t.clock.set(match self {
            Self::Ahead => now.plus(HOUR),
            Self::Back => now.minus(HOUR),
        });
    }
}

async fn happen(t: &TestPlane, customer: &Customer, numbers: std::ops::Range<usize>) {
    for n in numbers {
        t.livekit_says(&joined(t, customer, n)).await.expect("taken in");
    }
}

#[tokio::test]
async fn what_happens_after_a_jump_is_sent_at_once() {
    for jump in Jump::BOTH {
        let t = TestPlane::new().await;
        let customer = t.customer("acme").await;
        let receiver = Receiver::start(Action::ok());
        endpoint(&t, &customer, &receiver.url(), |_| {}).await;
        happen(&t, &customer, 0..3).await;
        work(&t).await;
        jump.make(&t);
        happen(&t, &customer, 3..6).await;
        work(&t).await;
        assert_eq!(count(&t, &customer, Status::Succeeded).await, 6, "{jump:?}");
    }
}

#[tokio::test]
async fn a_jump_is_no_allowance_for_an_endpoint_with_a_rate() {
    for jump in Jump::BOTH {
        let t = TestPlane::new().await;
        let customer = t.customer("acme").await;
        let receiver = Receiver::start(Action::ok());
        let rate = EndpointRate { per_second: 2, burst: 1 };
        endpoint(&t, &customer, &receiver.url(), |endpoint| endpoint.rate = Some(rate)).await;
        happen(&t, &customer, 0..10).await;
        work(&t).await;
        assert_eq!(receiver.counts().requests, 1, "{jump:?}");
        jump.make(&t);
        work(&t).await;
        assert_eq!(receiver.counts().requests, 1, "{jump:?}: no time has passed");
    }
}

#[tokio::test]
async fn a_jump_does_not_end_the_time_for_which_a_receiver_that_hangs_is_left_alone() {
    for jump in Jump::BOTH {
        let t = TestPlane::new().await;
        let customer = t.customer("acme").await;
        let receiver = Receiver::start(Action::Hang);
        let (sent_to, _) = endpoint(&t, &customer, &receiver.url(), |endpoint| endpoint.max_in_flight = 5).await;
        happen(&t, &customer, 0..10).await;
        work(&t).await;
        let health = t.plane.parts().endpoints.health(sent_to.id).await.expect("read").expect("there");
        assert_eq!((health.breaker, receiver.counts().requests), (BreakerState::Open, 5));
        jump.make(&t);
        work(&t).await;
        assert_eq!(receiver.counts().requests, 5, "{jump:?}: no time has passed");
    }
}

#[tokio::test]
async fn retries_wait_as_long_as_their_schedule_says_whatever_the_wall_clock_is_set_to() {
    for jump in Jump::BOTH {
        let t = TestPlane::new().await;
        let customer = t.customer("acme").await;
        let refused_once = Behaviour::by_attempt([Action::status(500), Action::ok()]);
        let receiver = Receiver::start(refused_once);
        endpoint(&t, &customer, &receiver.url(), |endpoint| endpoint.schedule = Schedule::preset("plan")).await;
        happen(&t, &customer, 0..5).await;
        work(&t).await;
        assert_eq!(receiver.counts().requests, 5);
        jump.make(&t);
        work(&t).await;
        assert_eq!(receiver.counts().requests, 5, "{jump:?}: no time has passed");
        t.advance(Duration::from_secs(299)).await;
        work(&t).await;
        assert_eq!(receiver.counts().requests, 5, "{jump:?}: an attempt came early");
        // At most a fifth longer than five minutes.
        t.advance(Duration::from_secs(61)).await;
        work(&t).await;
        assert_eq!(count(&t, &customer, Status::Succeeded).await, 5, "{jump:?}: what was due stands still");
    }
}

#[tokio::test]
async fn an_attempt_that_is_under_way_keeps_its_lease_over_a_jump() {
    for jump in Jump::BOTH {
        let t = TestPlane::new().await;
        let customer = t.customer("acme").await;
        let gate = Gate::new();
        let receiver = Receiver::start(Action::ok().held_by(&gate));
        endpoint(&t, &customer, &receiver.url(), |endpoint| endpoint.timeout_seconds = 15).await;
        happen(&t, &customer, 0..1).await;
        receiver.wait_for(1, Duration::from_secs(5)).await;
        jump.make(&t);
        gate.open();
        work(&t).await;
        let delivery = delivery(&t, &customer).await;
        let results: Vec<_> = attempts(&t, &customer, &delivery).await.iter().map(|row| row.result).collect();
        assert_eq!(results, [AttemptResult::Succeeded], "{jump:?}: its lease was taken for one that is over");
        assert_eq!((delivery.status, receiver.counts().requests), (Status::Succeeded, 1), "{jump:?}");
    }
}
