//! Transparent proxying: a host takes what is meant for another (Documentation/networking/tproxy.rst).
//!
//! A rule of nf_tables hands packets to a local socket and marks them, and policy routing keeps what is marked on the host.
//! The messages are put together by hand: the crates for nf_tables need a C library. Names and numbers are those of
//! include/uapi/linux/netfilter/nf_tables.h and nfnetlink.h.

use std::io;
use std::net::IpAddr;

use netlink_packet_core::{NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::route::{RouteAttribute, RouteMessage, RouteProtocol, RouteScope, RouteType};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{Socket, SocketAddr};

use super::NetError;
use super::address::family;
use super::netlink::Request;
use super::path_manager::{attribute, error_of};

/// The mark of packets that stay. No socket of a case has it (SO_MARK is an int): its own packets would stay as well.
const MARK: u32 = 0x8000_0001;
/// The table that says so: that of the kernel's selftest.
const TABLE: u8 = 100;
/// The index of the loopback device in every namespace.
const LOOPBACK: u32 = 1;
/// What the table and the chain are called.
const NAME: &[u8] = b"whitewater\0";

const NFNL_SUBSYS_NFTABLES: u16 = 10;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const NEW_TABLE: u16 = NFNL_SUBSYS_NFTABLES << 8;
const NEW_CHAIN: u16 = NFNL_SUBSYS_NFTABLES << 8 | 3;
const NEW_RULE: u16 = NFNL_SUBSYS_NFTABLES << 8 | 6;

const TABLE_NAME: u16 = 1;
const CHAIN_TABLE: u16 = 1;
const CHAIN_NAME: u16 = 3;
const CHAIN_HOOK: u16 = 4;
const CHAIN_TYPE: u16 = 7;
const HOOK_NUMBER: u16 = 1;
const HOOK_PRIORITY: u16 = 2;
const RULE_TABLE: u16 = 1;
const RULE_CHAIN: u16 = 2;
const RULE_EXPRESSIONS: u16 = 4;
const LIST_ELEMENT: u16 = 1;
const EXPRESSION_NAME: u16 = 1;
const EXPRESSION_DATA: u16 = 2;
const DATA_VALUE: u16 = 1;
const DATA_VERDICT: u16 = 2;
const VERDICT_CODE: u16 = 1;
/// Set in the type of an attribute that holds others.
const NESTED: u16 = 1 << 15;

const PREROUTING: u32 = 0;
/// Before routing decides, behind the tracking of connections (NF_IP_PRI_MANGLE).
const PRIORITY: i32 = -150;
const ACCEPT: u32 = 1;
const VERDICT_REGISTER: u32 = 0;
const REGISTER: u32 = 1;
const META_MARK: u32 = 3;
const META_L4PROTO: u32 = 16;
const NETWORK_HEADER: u32 = 1;
const TRANSPORT_HEADER: u32 = 2;
const EQUAL: u32 = 0;
/// NFPROTO_IPV4 and NFPROTO_IPV6.
const IPV4: u8 = 2;
const IPV6: u8 = 10;

/// Where a header has what: offset and length of the destination.
const V4_DESTINATION: (u32, u32) = (16, 4);
const V6_DESTINATION: (u32, u32) = (24, 16);
const PORT_DESTINATION: (u32, u32) = (2, 2);

/// What policy routing has to know: packets with the mark are the host's own.
pub fn routes(target: IpAddr) -> [Request; 2] {
    let mut rule = RuleMessage::default();
    rule.header.family = family(target);
    rule.header.table = TABLE;
    rule.header.action = RuleAction::ToTable;
    rule.attributes = vec![RuleAttribute::FwMark(MARK), RuleAttribute::Priority(TABLE.into())];
    let mut route = RouteMessage::default();
    route.header.address_family = family(target);
    route.header.table = TABLE;
    route.header.protocol = RouteProtocol::Static;
    route.header.scope = RouteScope::Host;
    route.header.kind = RouteType::Local;
    route.attributes = vec![RouteAttribute::Oif(LOOPBACK)];
    let request = |message, operation: &str| Request {
        message,
        flags: NLM_F_CREATE | NLM_F_EXCL,
        device: String::new(),
        operation: operation.to_owned(),
    };
    [
        request(RouteNetlinkMessage::NewRule(rule), &format!("add a rule for mark {MARK} to table {TABLE}")),
        request(RouteNetlinkMessage::NewRoute(route), &format!("add a route to this host to table {TABLE}")),
    ]
}

/// Hands TCP that is meant for `target` to the sockets of this namespace that ask for it (IP_TRANSPARENT), with its
/// addresses as they are. What finds no such socket goes on. `host` is what error messages call the namespace.
///
/// # Errors
/// ENOENT, EOPNOTSUPP or EPROTONOSUPPORT where the kernel lacks nf_tables or its tproxy.
pub fn divert(host: &str, target: IpAddr) -> Result<(), NetError> {
    let failed = |error: io::Error, words| {
        NetError::new(format!("divert packets for {target} by nf_tables"), error)
            .on(host)
            .detail(words)
            .way_out("the kernel needs CONFIG_NF_TABLES and CONFIG_NFT_TPROXY")
    };
    let (batch, acknowledgements) = batch(target);
    let send = || -> io::Result<Socket> {
        let mut socket = Socket::new(NETLINK_NETFILTER)?;
        socket.set_ext_ack(true)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        socket.send(&batch, 0)?;
        Ok(socket)
    };
    let socket = send().map_err(|error| failed(error, None))?;
    for _ in 0..acknowledgements {
        let mut answer = Vec::with_capacity(4096);
        socket.recv(&mut answer, 0).map_err(|error| failed(error, None))?;
        if let Some((error, words)) = error_of(&answer) {
            return Err(failed(error, words));
        }
    }
    Ok(())
}

/// A table, a chain and the rule, all or nothing; and how many acknowledgements that has.
fn batch(target: IpAddr) -> (Vec<u8>, usize) {
    let protocol = if target.is_ipv4() { IPV4 } else { IPV6 };
    let table = attributes(&[(TABLE_NAME, NAME)]);
    let hook = attributes(&[(HOOK_NUMBER, &PREROUTING.to_be_bytes()), (HOOK_PRIORITY, &PRIORITY.to_be_bytes())]);
    let chain =
        attributes(&[(CHAIN_TABLE, NAME), (CHAIN_NAME, NAME), (CHAIN_HOOK | NESTED, &hook), (CHAIN_TYPE, b"filter\0")]);
    let rule = attributes(&[(RULE_TABLE, NAME), (RULE_CHAIN, NAME), (RULE_EXPRESSIONS | NESTED, &expressions(target))]);
    let wanted = [
        (NEW_TABLE, NLM_F_CREATE, table),
        (NEW_CHAIN, NLM_F_CREATE, chain),
        (NEW_RULE, NLM_F_CREATE | NLM_F_APPEND, rule),
    ];
    let mut batch = Vec::new();
    message(&mut batch, BATCH_BEGIN, 0, (0, NFNL_SUBSYS_NFTABLES), &[]);
    for (kind, flags, body) in &wanted {
        message(&mut batch, *kind, flags | NLM_F_ACK, (protocol, 0), body);
    }
    message(&mut batch, BATCH_END, 0, (0, NFNL_SUBSYS_NFTABLES), &[]);
    (batch, wanted.len())
}

/// `meta l4proto tcp ip daddr TARGET tproxy to :(tcp dport) meta mark set 1 accept`. The port that a packet names is the one
/// that its socket listens on.
fn expressions(target: IpAddr) -> Vec<u8> {
    let (protocol, destination, address) = match target {
        IpAddr::V4(address) => (IPV4, V4_DESTINATION, address.octets().to_vec()),
        IpAddr::V6(address) => (IPV6, V6_DESTINATION, address.octets().to_vec()),
    };
    let tcp = [libc::IPPROTO_TCP as u8];
    let accept = attributes(&[(VERDICT_CODE, &ACCEPT.to_be_bytes())]);
    let mut list = Vec::new();
    let mut add = |name: &str, fields: &[(u16, &[u8])]| {
        let name = format!("{name}\0");
        let data = attributes(fields);
        let expression = attributes(&[(EXPRESSION_NAME, name.as_bytes()), (EXPRESSION_DATA | NESTED, &data)]);
        attribute(&mut list, LIST_ELEMENT | NESTED, &expression);
    };
    let register = REGISTER.to_be_bytes();
    let value = |bytes: &[u8]| attributes(&[(DATA_VALUE, bytes)]);
    let load = |base: u32, (offset, length): (u32, u32)| [REGISTER, base, offset, length].map(u32::to_be_bytes);
    // meta: 1 destination register, 2 key, 3 source register; cmp: 1 source register, 2 operator, 3 data; payload: 1
    // destination register, 2 base, 3 offset, 4 length; tproxy: 1 family, 3 register of the port; immediate: 1 destination
    // register, 2 data.
    add("meta", &[(2, &META_L4PROTO.to_be_bytes()), (1, &register)]);
    add("cmp", &[(1, &register), (2, &EQUAL.to_be_bytes()), (3 | NESTED, &value(&tcp))]);
    let [to, base, offset, length] = load(NETWORK_HEADER, destination);
    add("payload", &[(1, &to), (2, &base), (3, &offset), (4, &length)]);
    add("cmp", &[(1, &register), (2, &EQUAL.to_be_bytes()), (3 | NESTED, &value(&address))]);
    let [to, base, offset, length] = load(TRANSPORT_HEADER, PORT_DESTINATION);
    add("payload", &[(1, &to), (2, &base), (3, &offset), (4, &length)]);
    add("tproxy", &[(1, &u32::from(protocol).to_be_bytes()), (3, &register)]);
    add("immediate", &[(1, &register), (2 | NESTED, &value(&MARK.to_ne_bytes()))]);
    add("meta", &[(2, &META_MARK.to_be_bytes()), (3, &register)]);
    let verdict = attributes(&[(DATA_VERDICT | NESTED, &accept)]);
    add("immediate", &[(1, &VERDICT_REGISTER.to_be_bytes()), (2 | NESTED, &verdict)]);
    list
}

fn attributes(list: &[(u16, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (kind, value) in list {
        attribute(&mut bytes, *kind, value);
    }
    bytes
}

/// Appends a message: struct nlmsghdr, struct nfgenmsg, attributes.
fn message(to: &mut Vec<u8>, kind: u16, flags: u16, (protocol, resource): (u8, u16), body: &[u8]) {
    let length = (16 + 4 + body.len()) as u32;
    to.extend(length.to_ne_bytes());
    to.extend(kind.to_ne_bytes());
    to.extend((flags | NLM_F_REQUEST).to_ne_bytes());
    to.extend([0; 8]);
    to.extend([protocol, 0]);
    to.extend(resource.to_be_bytes());
    to.extend(body);
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    #[test]
    fn a_batch_is_whole_messages_between_its_begin_and_end() {
        for target in [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()] {
            let (bytes, acknowledgements) = batch(target);
            let (mut kinds, mut rest) = (Vec::new(), bytes.as_slice());
            while !rest.is_empty() {
                let length = u32::from_ne_bytes(rest[..4].try_into().unwrap()) as usize;
                assert!(length.is_multiple_of(4) && length <= rest.len());
                kinds.push(u16::from_ne_bytes(rest[4..6].try_into().unwrap()));
                rest = &rest[length..];
            }
            assert_eq!(kinds, [BATCH_BEGIN, NEW_TABLE, NEW_CHAIN, NEW_RULE, BATCH_END]);
            assert_eq!(acknowledgements, 3);
        }
    }
}
