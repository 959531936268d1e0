//! What middleboxes do, in words.

use super::phrase::{percent, size, time};
use crate::case::{Action, Kept, Merge, Pick, Removal, Rule, Strip, TcpOption, Towards};

/// A rule in words: `strips MP_CAPABLE from every SYN`, `drops the 3rd FIN`.
pub fn rule(rule: &Rule) -> String {
    let packets = match rule.on {
        Pick::Any => "segment".to_owned(),
        Pick::Syn => "SYN".to_owned(),
        Pick::SynAck => "SYN/ACK".to_owned(),
        Pick::ThirdAck => "third ACK".to_owned(),
        Pick::Data(0) => "segment with data".to_owned(),
        Pick::Data(from) => format!("segment with data from {} on", size(from)),
        Pick::Ack => "bare ACK".to_owned(),
        Pick::AckAgain => "bare ACK of nothing new".to_owned(),
        Pick::Fin => "FIN".to_owned(),
        Pick::Rst => "RST".to_owned(),
        Pick::DataFin => "DATA_FIN".to_owned(),
        Pick::Carries(what) => option(what).to_owned(),
    };
    let which = match (rule.skip, rule.times) {
        (0, None) => format!("every {packets}"),
        (0, Some(1)) => format!("the first {packets}"),
        (0, Some(times)) => format!("the first {times} of every {packets}"),
        (skip, None) => format!("every {packets} after the first {skip}"),
        (skip, Some(1)) => format!("{packets} number {}", skip + 1),
        (skip, Some(times)) => format!("{packets} number {} to {}", skip + 1, skip + times),
    };
    let chance = if rule.chance < 1.0 { format!(" in {}", percent(rule.chance)) } else { String::new() };
    action(rule.action, &which) + &chance
}

/// What is done to `packet`, in words.
pub fn action(action: Action, packet: &str) -> String {
    match action {
        Action::Drop => format!("drops {packet}"),
        Action::Flip(bit) => format!("flips bit {bit} of {packet}"),
        Action::Duplicate => format!("doubles {packet}"),
        Action::Late(by) => format!("delays {packet} by {}", time(by)),
        Action::Early(by) => format!("hurries {packet} by {}", time(by)),
        Action::Strip(Strip { option: what, by: Removal::Nops }) => format!("strips {} from {packet}", option(what)),
        Action::Strip(Strip { option: what, by: Removal::Nothing }) => {
            format!("strips {} from {packet} without a trace", option(what))
        }
        Action::Clamp(mss) => format!("lowers the MSS of {packet} to {mss}"),
        Action::Split(at) => format!("splits {packet} behind byte {at}"),
        Action::Merge(Merge { within, options }) => {
            let whose = match options {
                Kept::Same => " where both have the same options",
                Kept::First => ", under the options of the first",
                Kept::Second => ", under the options of the second",
            };
            format!("merges {packet} with the next one within {}{whose}", time(within))
        }
        Action::Alter(at) => format!("alters byte {at} of {packet}"),
        Action::Mark => format!("marks {packet} with CE"),
        Action::Reset(Towards::Both) => format!("sends a RST both ways at {packet}"),
        Action::Reset(towards) => format!("sends a RST to the {towards} of {packet}"),
        Action::Refuse => format!("refuses {packet} with a RST"),
    }
}

/// An option as its standard writes it.
fn option(option: TcpOption) -> &'static str {
    match option {
        TcpOption::Mss => "the MSS",
        TcpOption::WindowScale => "window scale",
        TcpOption::SackPermitted => "SACK permitted",
        TcpOption::Sack => "SACK",
        TcpOption::Timestamps => "timestamps",
        TcpOption::Mptcp => "MPTCP",
        TcpOption::MpCapable => "MP_CAPABLE",
        TcpOption::MpJoin => "MP_JOIN",
        TcpOption::Dss => "DSS",
        TcpOption::AddAddr => "ADD_ADDR",
        TcpOption::AddAddrEcho => "ADD_ADDR echo",
        TcpOption::RemoveAddr => "REMOVE_ADDR",
        TcpOption::MpPrio => "MP_PRIO",
        TcpOption::MpFail => "MP_FAIL",
        TcpOption::MpFastclose => "MP_FASTCLOSE",
        TcpOption::MpTcprst => "MP_TCPRST",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_told_in_words() {
        let strip = Action::Strip(Strip { option: TcpOption::MpCapable, by: Removal::Nops });
        assert_eq!(rule(&Rule::always(Pick::Syn, strip)), "strips MP_CAPABLE from every SYN");
        assert_eq!(rule(&Rule::once(Pick::Fin, Action::Drop)), "drops the first FIN");
        let merge = Action::Merge(Merge { within: std::time::Duration::from_millis(1), options: Kept::First });
        let merged = "merges every segment with data with the next one within 1 ms, under the options of the first";
        assert_eq!(rule(&Rule::always(Pick::Data(0), merge)), merged);
        let some = Rule { skip: 2, times: Some(3), chance: 0.5, ..Rule::always(Pick::Data(65_536), Action::Mark) };
        assert_eq!(rule(&some), "marks segment with data from 64 KiB on number 3 to 5 with CE in 50 %");
    }
}
