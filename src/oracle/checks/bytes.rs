//! Whether the bytes that arrived are the bytes that were sent: Corrupt, Truncated, Extra.

use super::{errors, fallback, leave};
use crate::oracle::expectation::middlebox;
use crate::oracle::{BOTH, Kind, Run, Verdict};
use crate::payload::{Damage, Mismatch, Sender};

/// Looks at what either endpoint received. Wrong bytes in the middle come before a wrong length: they may cause it.
pub fn check(run: &Run<'_>) -> Option<Verdict> {
    let found: Vec<Verdict> = BOTH.into_iter().filter_map(|sender| stream(run, sender)).collect();
    let corrupt = found.iter().position(|verdict| verdict.kind == Kind::Corrupt).unwrap_or(0);
    found.into_iter().nth(corrupt)
}

/// Looks at what `sender` sent.
fn stream(run: &Run<'_>, sender: Sender) -> Option<Verdict> {
    let mismatch = run.story(sender.peer()).mismatch.clone().or_else(|| length(run, sender))?;
    let direction = format!("{}>{}", sender.name(), sender.peer().name());
    let Mismatch { kind, offset, length, expected, received, .. } = &mismatch;
    match kind {
        Damage::Truncated if broke_off(run, sender) || leave::ended_there(run, sender, *received) => None,
        _ if *length == 1 && passed_altered(run, sender, *offset) => None,
        Damage::Truncated => {
            let what = format!("{direction} ended after {received} of {expected} bytes");
            Some(Verdict::of(Kind::Truncated, &direction, what))
        }
        Damage::Extra => {
            let what = format!("{direction} went on after its {expected} bytes: {received} arrived");
            Some(Verdict::of(Kind::Extra, &direction, what))
        }
        damage => {
            let long = if *length == 1 { "1 byte".to_owned() } else { format!("{length} bytes") };
            let what = format!("{direction}: {damage} at byte {offset} of {expected}, {long} long");
            Some(Verdict::of(Kind::Corrupt, &format!("{damage} {direction}"), what))
        }
    }
}

/// Whether an early end of the stream of `sender` is no more than the end of a sender that failed. One that was told
/// that its peer is gone did not fail by itself: no end of stream comes from it then, so the receiver saw one before.
fn broke_off(run: &Run<'_>, sender: Sender) -> bool {
    run.story(sender).error.as_ref().is_some_and(|error| !errors::follows(error))
}

/// Whether the byte at `offset` of the stream of `sender` may arrive as a middlebox has altered it.
///
/// TCP has no means against it. MPTCP with checksums notices, and then either resets the subflow, or, where the connection
/// has no other and can do without MPTCP, falls back to TCP, and passes on what came (RFC 8684, section 3.7: the
/// middlebox may have meant it). Where it has noticed nothing, a wrong byte is its fault.
fn passed_altered(run: &Run<'_>, sender: Sender, offset: u64) -> bool {
    let checked =
        run.case.is_mptcp() && BOTH.iter().any(|&side| run.case.knobs(run.endpoint(side).host).mptcp_checksum);
    // A subflow that has joined is reset, and what it brought thrown away: another one brings it again.
    let noticed = run.counter(sender.peer(), "MPTcpExt.DataCsumErr") > 0 && middlebox::alter_the_first(run.case);
    // Data in a SYN, which is one packet, comes before any mapping, and so before any checksum of MPTCP (RFC 8684,
    // appendix B).
    let packet = run.case.path().iter().map(|link| u64::from(run.case.link(*link).mtu)).max().unwrap_or_default();
    let opens_fast = run.counter(Sender::Server, "TcpExt.TCPFastOpenPassive") > 0;
    let in_syn = sender == Sender::Client && opens_fast && offset < packet;
    middlebox::alter(run.case) && (!checked || noticed || in_syn || fallback::at_the_handshake(run))
}

/// A wrong length that nobody named: the receiver saw the end of the stream elsewhere than after its last byte.
fn length(run: &Run<'_>, sender: Sender) -> Option<Mismatch> {
    let receiver = run.story(sender.peer());
    let (expected, received) = (run.endpoint(sender).payload, receiver.received);
    let kind = match received {
        more if more > expected => Damage::Extra,
        less if less < expected && receiver.end_of_stream => Damage::Truncated,
        _ => return None,
    };
    let (offset, length) = (received.min(expected), received.abs_diff(expected));
    Some(Mismatch { kind, offset, length, expected, received, hex: String::new() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::Case;
    use crate::observation::{CallError, End, Observation};
    use crate::oracle::{healthy, judge};

    fn mismatch(kind: Damage) -> Mismatch {
        Mismatch { kind, offset: 70, length: 3, expected: 100, received: 90, hex: String::new() }
    }

    fn case() -> Case {
        let mut case = Case::default();
        case.client.payload = 100;
        case.server.payload = 200;
        case
    }

    fn judged(change: impl FnOnce(&mut Observation)) -> Verdict {
        let mut seen = healthy::observation(&case());
        change(&mut seen);
        judge(&case(), &seen)
    }

    #[test]
    fn a_byte_altered_in_a_syn_has_no_checksum_of_mptcp() {
        use crate::case::{Action, Host, LinkId, Pick, Protocol, Rule};
        let mut case = case();
        case.server.host = Host::Ns2;
        (case.client.protocol, case.server.protocol) = (Protocol::Mptcp, Protocol::Mptcp);
        case.client.options.fastopen = true;
        case.hosts.entry(Host::Ns1).or_default().mptcp_checksum = true;
        case.links.entry(LinkId::Ns1Ns2).or_default().forward.rules = vec![Rule::once(Pick::Data(0), Action::Alter(0))];
        let judged = |passive: i64, damage: fn(&mut Observation)| {
            let mut seen = healthy::observation(&case);
            let counters = &mut seen.hosts.entry(Host::Ns2).or_default().counters;
            counters.insert("TcpExt.TCPFastOpenPassive".to_owned(), passive);
            damage(&mut seen);
            judge(&case, &seen).kind
        };
        fn byte(offset: u64) -> Option<Mismatch> {
            Some(Mismatch { offset, length: 1, ..mismatch(Damage::BitFlip) })
        }
        let at_server: fn(&mut Observation) = |seen| seen.server.mismatch = byte(70);
        let at_client: fn(&mut Observation) = |seen| seen.client.mismatch = byte(70);
        let behind: fn(&mut Observation) = |seen| seen.server.mismatch = byte(9000);
        let all = [judged(1, at_server), judged(0, at_server), judged(1, at_client), judged(1, behind)];
        assert_eq!(all.map(|kind| kind == Kind::Corrupt), [false, true, true, true]);
    }

    #[test]
    fn wrong_bytes_are_named_with_their_direction() {
        let verdict = judged(|seen| seen.server.mismatch = Some(mismatch(Damage::BitFlip)));
        assert_eq!(verdict.signature, "Corrupt: bit flip client>server");
        let verdict = judged(|seen| seen.client.mismatch = Some(mismatch(Damage::OtherDirection)));
        assert_eq!(verdict.signature, "Corrupt: bytes of the other direction server>client");
    }

    #[test]
    fn a_wrong_length_is_no_corruption() {
        let verdict = judged(|seen| seen.server.mismatch = Some(mismatch(Damage::Truncated)));
        assert_eq!((verdict.kind, verdict.signature.as_str()), (Kind::Truncated, "Truncated: client>server"));
        let verdict = judged(|seen| seen.client.mismatch = Some(mismatch(Damage::Extra)));
        assert_eq!((verdict.kind, verdict.signature.as_str()), (Kind::Extra, "Extra: server>client"));
    }

    #[test]
    fn a_wrong_length_is_found_without_a_mismatch() {
        assert_eq!(judged(|seen| seen.server.received = 99).signature, "Truncated: client>server");
        assert_eq!(judged(|seen| seen.server.received = 101).signature, "Extra: client>server");
    }

    #[test]
    fn corruption_comes_before_truncation_of_the_other_stream() {
        let verdict = judged(|seen| {
            seen.server.mismatch = Some(mismatch(Damage::Truncated));
            seen.client.mismatch = Some(mismatch(Damage::Hole));
        });
        assert_eq!(verdict.signature, "Corrupt: hole server>client");
    }

    #[test]
    fn a_stall_or_an_end_of_time_with_wrong_bytes_is_corruption() {
        for end in [End::Stalled { idle: Default::default() }, End::OutOfTime] {
            let verdict = judged(|seen| {
                seen.end = end;
                seen.server.mismatch = Some(mismatch(Damage::Zeros));
                seen.server.end_of_stream = false;
            });
            assert_eq!(verdict.kind, Kind::Corrupt);
        }
    }

    #[test]
    fn a_receiver_that_ended_too_early_explains_its_sender_s_reset() {
        let failed = |call: &str, errno: &str| {
            judged(|seen| {
                seen.server.mismatch = Some(mismatch(Damage::Truncated));
                seen.client.error = Some(CallError { call: call.into(), errno: errno.into(), sent: 95, received: 0 });
            })
        };
        assert_eq!(failed("send", "ECONNRESET").kind, Kind::Truncated);
        assert_eq!(failed("shutdown", "ENOTCONN").kind, Kind::Truncated);
        assert_eq!(failed("recv", "ENOTCONN").kind, Kind::Reset);
    }
}
