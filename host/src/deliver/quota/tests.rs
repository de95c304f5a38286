use proptest::prelude::*;

use super::*;

fn state(messages_per_second: u32, requests_per_second: u32) -> State {
    State::new(&config::Quota { messages_per_second, requests_per_second, share: Some(1.0) })
}

/// Waits are rounded up by a nanosecond.
fn ms(wait: Duration) -> u128 {
    wait.as_millis()
}

fn wait(ask: Ask, now: Instant) -> u128 {
    let Ask::WaitUntil(until) = ask else { panic!("{ask:?}") };
    ms(until - now)
}

/// Lets the first in line go as soon as it may; when that was.
fn go(state: &mut State, now: Instant) -> (Ticket, Instant) {
    let first = state.line.first().cloned().unwrap();
    let Ask::WaitUntil(at) = state.ask(&first, now) else { return (first, now) };
    assert_eq!(state.ask(&first, at), Ask::Go);
    (first, at)
}

impl State {
    /// When the first in line may go, where it has to wait.
    fn ask_only(&mut self, first: &Ticket, now: Instant) -> Option<Instant> {
        let rate = self.pay(now);
        assert_eq!(self.line.first(), Some(first));
        (self.owed.0 > 0.0).then(|| now + Duration::from_secs_f64(self.owed.0 / rate))
    }
}

#[test]
fn a_request_is_paid_for_before_the_next_one_goes() {
    let (mut state, now) = (state(10_000, 1_000), Instant::now());
    let tickets = [1_000, 500, 1].map(|messages| state.line_up("orders", messages));
    assert_eq!(state.ask(&tickets[1], now), Ask::WaitForChange);
    assert_eq!(state.ask(&tickets[0], now), Ask::Go);
    assert_eq!(wait(state.ask(&tickets[1], now), now), 100);
    let paid = now + Duration::from_millis(101);
    assert_eq!(state.ask(&tickets[1], paid), Ask::Go);
    // A millisecond was paid ahead; one message takes a request's time.
    assert_eq!(wait(state.ask(&tickets[2], paid), paid), 49);
}

#[test]
fn what_is_owed_is_paid_at_the_share_of_each_moment() {
    let (mut state, now) = (state(10_000, 1_000), Instant::now());
    state.share = 0.01;
    let tickets = [1_000, 1].map(|messages| state.line_up("orders", messages));
    assert_eq!(state.ask(&tickets[0], now), Ask::Go);
    assert_eq!(wait(state.ask(&tickets[1], now), now), 10_000);
    // A rebalance: half of all partitions are ours now.
    let later = now + Duration::from_secs(5);
    state.pay(later);
    state.share = 0.5;
    assert_eq!(wait(state.ask(&tickets[1], later), later), 100);
}

#[test]
fn a_request_that_was_not_sent_costs_nothing() {
    let (mut state, now) = (state(10_000, 1_000), Instant::now());
    let first = state.line_up("orders", 1_000);
    assert_eq!(state.ask(&first, now), Ask::Go);
    state.give_back("orders", &first, true, now);
    let given_up = state.line_up("orders", 1_000);
    state.give_back("orders", &given_up, false, now);
    let second = state.line_up("orders", 1);
    assert_eq!(second.start, 0, "nor does it cost its destination's place");
    assert_eq!(state.ask(&second, now), Ask::Go);
}

#[test]
fn throttled_requests_lower_the_share_once_and_it_comes_back() {
    let (mut state, now) = (state(10_000, 1_000), Instant::now());
    state.lower(now);
    state.lower(now + Duration::from_millis(900));
    assert!((state.left(now) - 0.7).abs() < 1e-9);
    assert!((state.left(now + Duration::from_secs(10)) - 0.9).abs() < 1e-9);
    assert!((state.left(now + Duration::from_mins(1)) - 1.0).abs() < 1e-9);
    for second in 1..60 {
        state.lower(now + Duration::from_secs(second));
    }
    let left = state.left(now + Duration::from_secs(59));
    assert!((LOWEST..LOWEST + 0.02).contains(&left), "{left}");
}

#[test]
fn partitions_give_the_share_unless_the_configuration_does() {
    let quota = Quota::new(&config::Quota::default());
    quota.set_partitions(3, 12);
    assert!((quota.status().messages_per_second - 2_500.0).abs() < 1e-9);
    // Everything was taken away; what is on its way ends at the share before.
    quota.set_partitions(0, 12);
    assert!((quota.status().share - 0.25).abs() < 1e-9);
    let fixed = Quota::new(&config::Quota { share: Some(0.5), ..config::Quota::default() });
    fixed.set_partitions(3, 12);
    assert!((fixed.status().share - 0.5).abs() < 1e-9);
}

#[tokio::test]
async fn a_request_that_is_given_up_leaves_the_line() {
    let quota = Quota::new(&config::Quota { share: Some(1.0), ..config::Quota::default() });
    // Paid for after half a second: what follows waits.
    quota.turn("orders", 5_000).await.used();
    let mut given_up = Box::pin(quota.turn("orders", 1_000));
    assert!(poll_once(&mut given_up).await.is_pending());
    let mut next = Box::pin(quota.turn("orders", 1));
    assert!(poll_once(&mut next).await.is_pending());
    assert_eq!(quota.status().waiting, 2);
    drop(given_up);
    next.await.used();
    assert_eq!(quota.status().waiting, 0);
}

/// Polls once.
async fn poll_once<T>(future: &mut (impl Future<Output = T> + Unpin)) -> std::task::Poll<T> {
    std::future::poll_fn(|context| {
        std::task::Poll::Ready(std::pin::Pin::new(&mut *future).poll(context))
    })
    .await
}

proptest! {
    /// Whatever is asked for, no span of time carries more than the rate, the credit and the
    /// request that was paid for in it; and while something waits, no time is left unused.
    #[test]
    fn the_rate_is_kept_and_used(
        asked in proptest::collection::vec((0_u64..200, 1_usize..1_000, 0_usize..3), 1..60),
        share in 0.05_f64..1.0,
    ) {
        let mut state = state(10_000, 1_000);
        state.share = share;
        let begin = Instant::now();
        let (mut now, mut sent) = (begin, Vec::new());
        for (after_ms, messages, destination) in asked {
            let next = now + Duration::from_millis(after_ms);
            while let Some(first) = state.line.first().cloned() {
                if matches!(state.ask_only(&first, now), Some(at) if at > next) {
                    break;
                }
                let (ticket, at) = go(&mut state, now);
                sent.push((at, state.cost(ticket.messages).div_f64(share)));
                now = at;
            }
            now = next;
            state.line_up(["a", "b", "c"][destination], messages);
        }
        while !state.line.is_empty() {
            let (ticket, at) = go(&mut state, now);
            sent.push((at, state.cost(ticket.messages).div_f64(share)));
            now = at;
        }
        for (i, &(from, _)) in sent.iter().enumerate() {
            let mut paid = Duration::ZERO;
            for &(at, price) in &sent[i..] {
                // What went before is paid for by now, but for the credit.
                prop_assert!(at - from + CREDIT + Duration::from_micros(10) >= paid);
                paid += price;
            }
        }
    }

    /// Destinations that always have something to send get the same, but for a request of each.
    #[test]
    fn destinations_share_alike(sizes in proptest::collection::vec((1_usize..1_000, 1_usize..1_000), 20..80)) {
        let mut state = state(10_000, 1_000);
        let now = Instant::now();
        let mut got: HashMap<u64, Duration> = HashMap::new();
        let mut owner = HashMap::new();
        for &(a, b) in &sizes {
            // One has many more requests waiting than the other.
            for (name, messages) in [(0, a), (0, b), (0, a), (1, b)] {
                let ticket = state.line_up(["busy", "quiet"][name], messages);
                owner.insert(ticket.number, name as u64);
            }
        }
        let mut left = sizes.len();
        let mut at = now;
        while left > 0 {
            let (ticket, went) = go(&mut state, at);
            at = went;
            *got.entry(owner[&ticket.number]).or_default() += state.cost(ticket.messages);
            left -= usize::from(owner[&ticket.number] == 1);
            let of = |who| got.get(&who).copied().unwrap_or_default();
            prop_assert!(of(0).abs_diff(of(1)) <= Duration::from_millis(200), "{got:?}");
        }
    }
}

#[test]
fn other_settings_hold_from_the_next_request_on_and_what_is_owed_stays() {
    let (mut state, now) = (state(10_000, 1_000), Instant::now());
    let tickets = [1_000, 1_000].map(|messages| state.line_up("orders", messages));
    assert_eq!(state.ask(&tickets[0], now), Ask::Go);
    assert_eq!(wait(state.ask(&tickets[1], now), now), 100);
    let half =
        config::Quota { messages_per_second: 10_000, requests_per_second: 1_000, share: Some(0.5) };
    state.reconfigure(&half);
    assert_eq!(wait(state.ask(&tickets[1], now), now), 200);
    state.reconfigure(&config::Quota { share: None, ..half });
    assert_eq!((state.share, state.fixed), (0.5, false), "until the partitions are told");
}
