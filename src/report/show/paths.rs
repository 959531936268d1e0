//! Several paths, drawn in text, and the configuration of path managers, in words:
//!
//! ```text
//!   ns1  client, MPTCP
//!    ├── path1 ──  
//!    ├≋≋ path2 ≋≋  → loss 2 %, ← delay 10 ms
//!   ns2  server, MPTCP
//! ```

use super::chain::{on_host, on_link};
use super::phrase;
use crate::case::{Case, Event, Happening, LinkId, Moment, PathManager, PmEndpoint};

/// Draws the hosts one below the other, with the links between them.
pub fn draw(case: &Case) -> String {
    let mut text = String::new();
    for host in case.topology.hosts() {
        text.push_str(format!("  {host}  {}", on_host(case, *host).join(", ")).trim_end());
        text.push('\n');
        for link in case.topology.links().iter().filter(|link| link.left() == *host) {
            text.push_str(&line(case, *link));
        }
    }
    text
}

fn line(case: &Case, id: LinkId) -> String {
    let sign = if case.is_carried(id) { "≋≋" } else { "──" };
    format!("   ├{sign} {id} {sign}  {}", on_link(case, id).join(", ")).trim_end().to_owned() + "\n"
}

/// The configuration of a path manager.
pub fn path_manager(pm: &PathManager) -> Option<String> {
    let mut said = Vec::new();
    said.extend(pm.userspace.then(|| "in user space".to_owned()));
    said.extend(pm.subflows.map(|limit| format!("up to {}", phrase::count(limit.into(), "further subflow"))));
    said.extend(pm.accepted.map(|limit| format!("accepts {}", phrase::count(limit.into(), "ADD_ADDR"))));
    said.extend(pm.endpoints.iter().map(endpoint));
    (!said.is_empty()).then(|| said.join(", "))
}

/// What happens on the way.
pub fn event(event: &Event) -> String {
    let when = match event.when {
        Moment::Client(bytes) => format!("after {} from the client", phrase::size(bytes)),
        Moment::Server(bytes) => format!("after {} from the server", phrase::size(bytes)),
        Moment::After(time) => format!("after {}", phrase::time(time)),
    };
    let what = match event.what {
        Happening::Block { link, lasts } => format!("nothing passes {link} for {}", phrase::time(lasts)),
        Happening::Down { link, lasts } => {
            format!("{}'s device on {link} is down for {}", link.left(), phrase::time(lasts))
        }
        Happening::Add { host, endpoint: added } => format!("{host} gets {}", endpoint(&added)),
        Happening::Remove { host, link } => format!("{host} loses endpoint {link}"),
        Happening::Flush { host } => format!("{host} loses all endpoints"),
        Happening::Fullmesh { host, link, on: true } => format!("{host}'s endpoint {link} makes a full mesh"),
        Happening::Fullmesh { host, link, on: false } => {
            format!("{host}'s endpoint {link} makes no full mesh any more")
        }
        Happening::Destroy { host, link } => format!("{host} ends its subflows on {link}"),
        Happening::Backup { host, link, on: true } => format!("{host}'s endpoint {link} becomes a backup"),
        Happening::Backup { host, link, on: false } => format!("{host}'s endpoint {link} is no backup any more"),
    };
    format!("{when}: {what}")
}

/// An endpoint of a path manager.
pub fn endpoint(endpoint: &PmEndpoint) -> String {
    let PmEndpoint { link, signal, subflow, backup, fullmesh, laminar, other_family, port, id } = *endpoint;
    let flags =
        [(signal, "signal"), (subflow, "subflow"), (backup, "backup"), (fullmesh, "fullmesh"), (laminar, "laminar")];
    let mut text = format!("endpoint {link}");
    for (_, flag) in flags.into_iter().filter(|(on, _)| *on) {
        text.push_str(&format!(" {flag}"));
    }
    text.push_str(if other_family { " of the other family" } else { "" });
    text.extend(port.map(|port| format!(" port {port}")));
    text.extend(id.map(|id| format!(" id {id}")));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::{Host, Impairments, Link, Loss, Topology};

    #[test]
    fn paths_are_drawn_one_below_the_other() {
        let mut case = Case { topology: Topology::Diamond, ..Case::default() };
        case.server.host = Host::Ns3;
        let lossy = Impairments { loss: Some(Loss::Independent(0.02)), ..Impairments::default() };
        case.links.insert(LinkId::Path2, Link { forward: lossy, ..Link::default() });
        let expected = "  \
  ns1  client, TCP
   ├── path1 ──
   ├≋≋ path2 ≋≋  → loss 2 %
  ns2
   ├── ns2-ns3 ──
  ns3  server, TCP
";
        assert_eq!(draw(&case), expected);
    }

    #[test]
    fn a_path_manager_is_told_in_words() {
        assert_eq!(path_manager(&PathManager::default()), None);
        let endpoints = vec![PmEndpoint {
            backup: true,
            subflow: true,
            other_family: true,
            id: Some(7),
            ..PmEndpoint::on(LinkId::Path2)
        }];
        let pm = PathManager { subflows: Some(1), accepted: Some(2), endpoints, userspace: true };
        let said = "in user space, up to 1 further subflow, accepts 2 ADD_ADDRs, \
                    endpoint path2 subflow backup of the other family id 7";
        assert_eq!(path_manager(&pm).as_deref(), Some(said));
    }
}
