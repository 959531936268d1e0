//! Command lines as getopt(3) of glibc reads them: flags and operands in any order, flags joined (`-jt 30`), a `--` that
//! ends the flags. What it does not know it complains about and passes over, as the original does.
//!
//! Beside single letters it knows the long flags of ours, which take a value: `--seed S` or `--seed=S`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// What a command line holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Parsed {
    /// The flags, in their order, with their values (empty for those without).
    pub(super) flags: Vec<(Flag, OsString)>,
    /// What is no flag.
    pub(super) operands: Vec<OsString>,
    /// What to complain about.
    pub(super) complaints: Vec<String>,
}

/// A flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flag {
    /// `-x`.
    Letter(char),
    /// `--name`.
    Long(&'static str),
}

/// A long flag and whether it takes a value.
pub(super) type LongFlag = (&'static str, bool);

/// Reads `arguments`. In `letters`, a letter that takes a value has a colon behind it.
pub(super) fn parse(letters: &str, long: &[LongFlag], arguments: impl IntoIterator<Item = OsString>) -> Parsed {
    let mut parsed = Parsed::default();
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        match argument.as_bytes() {
            b"--" => {
                parsed.operands.extend(arguments);
                break;
            }
            [b'-', b'-', name @ ..] => parsed.long_flag(long, name, &mut arguments),
            [b'-', cluster @ ..] if !cluster.is_empty() => parsed.cluster(letters, cluster, &mut arguments),
            _ => parsed.operands.push(argument),
        }
    }
    parsed
}

impl Parsed {
    fn cluster(&mut self, letters: &str, cluster: &[u8], more: &mut impl Iterator<Item = OsString>) {
        for (place, &byte) in cluster.iter().enumerate() {
            let letter = char::from(byte);
            let after = letters.split_once(letter).filter(|_| letter != ':').map(|(_, after)| after);
            let rest = &cluster[place + 1..];
            match after {
                None => self.complaints.push(format!("invalid option -- '{letter}'")),
                Some(after) if !after.starts_with(':') => self.flags.push((Flag::Letter(letter), OsString::new())),
                Some(_) => {
                    let value = if rest.is_empty() { more.next() } else { Some(OsString::from_vec(rest.to_vec())) };
                    match value {
                        Some(value) => self.flags.push((Flag::Letter(letter), value)),
                        None => self.complaints.push(format!("option requires an argument -- '{letter}'")),
                    }
                    return;
                }
            }
        }
    }

    fn long_flag(&mut self, long: &[LongFlag], argument: &[u8], more: &mut impl Iterator<Item = OsString>) {
        let mut parts = argument.splitn(2, |&byte| byte == b'=');
        let name = OsStr::from_bytes(parts.next().unwrap_or_default());
        let value = parts.next().map(|value| OsStr::from_bytes(value).to_owned());
        let shown = name.to_string_lossy();
        match long.iter().find(|(known, _)| name == *known) {
            None => self.complaints.push(format!("unrecognized option '--{shown}'")),
            Some((known, false)) => self.flags.push((Flag::Long(known), OsString::new())),
            Some((known, true)) => match value.or_else(|| more.next()) {
                Some(value) => self.flags.push((Flag::Long(known), value)),
                None => self.complaints.push(format!("option '--{shown}' requires an argument")),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Parsed {
        parse("6c:jlt:", &[("seed", true), ("help", false)], line.split(' ').map(OsString::from))
    }

    fn flags(line: &str) -> String {
        let show = |(flag, value): &(Flag, OsString)| format!("{flag:?}={}", value.to_string_lossy());
        parsed(line).flags.iter().map(show).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn flags_may_be_joined_and_come_behind_operands() {
        assert_eq!(flags("-jt 30 -l"), "Letter('j')= Letter('t')=30 Letter('l')=");
        assert_eq!(flags("-t30"), "Letter('t')=30");
        assert_eq!(flags("-t -1 host -6"), "Letter('t')=-1 Letter('6')=");
        assert_eq!(parsed("host -6 --seed 7 more -- -l").operands, ["host", "more", "-l"]);
        assert_eq!(flags("--seed=7 --seed 8 --help"), "Long(\"seed\")=7 Long(\"seed\")=8 Long(\"help\")=");
        assert_eq!(parsed("-").operands, ["-"]);
    }

    #[test]
    fn what_is_unknown_is_complained_about_and_passed_over() {
        let parsed = parsed("-xj -: --river -t");
        assert_eq!(parsed.flags, [(Flag::Letter('j'), OsString::new())]);
        let complaints = [
            "invalid option -- 'x'",
            "invalid option -- ':'",
            "unrecognized option '--river'",
            "option requires an argument -- 't'",
        ];
        assert_eq!(parsed.complaints, complaints);
    }
}
