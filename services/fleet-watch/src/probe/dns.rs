//! One question and its answer on the wire (RFC 1035). Pure.

use std::net::IpAddr;
use std::str::FromStr;

use domain::base::iana::{Class, Rcode};
use domain::base::{Message, MessageBuilder, Name, Rtype};
use domain::rdata::{A, Aaaa};

use crate::finding::Answer;

/// What a resolver is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Question {
    name: Name<Vec<u8>>,
    kind: Rtype,
}

impl Question {
    /// The addresses of a host. `None`: that is no name.
    pub(super) fn host(name: &str, ipv4: bool) -> Option<Self> {
        let name = Name::from_str(name).ok()?;
        let kind = if ipv4 { Rtype::A } else { Rtype::AAAA };
        Some(Self { name, kind })
    }

    /// The name servers of the root, which every resolver knows.
    pub(super) fn root() -> Self {
        Self {
            name: Name::root_vec(),
            kind: Rtype::NS,
        }
    }

    /// The query with this number.
    pub(super) fn query(&self, id: u16) -> Vec<u8> {
        let mut message = MessageBuilder::new_vec();
        message.header_mut().set_id(id);
        message.header_mut().set_rd(true);
        let mut message = message.question();
        // Fits: a name has at most 255 bytes.
        let _ = message.push((&self.name, self.kind));
        message.finish()
    }

    /// What a datagram answers; `None` if it is no answer to the query with this number.
    pub(super) fn read(&self, datagram: &[u8], id: u16) -> Option<Answer> {
        let message = Message::from_slice(datagram).ok()?;
        let header = message.header();
        let question = message.sole_question().ok()?;
        let is_answer = header.qr() && header.id() == id;
        let is_ours =
            *question.qname() == self.name && question.qtype() == self.kind && question.qclass() == Class::IN;
        if !(is_answer && is_ours) {
            return None;
        }
        match header.rcode() {
            Rcode::NOERROR => {}
            Rcode::NXDOMAIN => return Some(Answer::NoSuchName),
            _ => return Some(Answer::Fails),
        }
        // Of whatever name: the question's own may be an alias. What is damaged is not there.
        let section = message.answer().ok()?;
        let v4 = section
            .limit_to_in::<A>()
            .flatten()
            .map(|record| IpAddr::from(record.data().addr()));
        let v6 = section
            .limit_to_in::<Aaaa>()
            .flatten()
            .map(|record| IpAddr::from(record.data().addr()));
        Some(Answer::Addresses(v4.chain(v6).take(MOST_ADDRESSES).collect()))
    }
}

/// More are of no use to anybody here.
const MOST_ADDRESSES: usize = 16;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: u16 = 0xbeef;

    fn question() -> Question {
        Question::host("check.example", true).unwrap()
    }

    /// The query as an answer with this code and these records, each as the wire has it behind its name.
    fn answer(code: u8, records: &[&[u8]]) -> Vec<u8> {
        let mut message = question().query(ID);
        message[2] |= 0x80;
        message[3] |= 0x80 | code;
        message[7] = u8::try_from(records.len()).unwrap();
        for record in records {
            message.extend([0xc0, 12]);
            message.extend(*record);
        }
        message
    }

    const ADDRESS: &[u8] = &[0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 192, 0, 2, 7];

    #[test]
    fn a_query_as_it_is_on_the_wire() {
        let mut wire = vec![0xbe, 0xef, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        wire.extend(b"\x05check\x07example\x00\x00\x01\x00\x01");
        assert_eq!(question().query(ID), wire);
        assert_eq!(Question::root().query(ID)[12..], [0, 0, 2, 0, 1]);
        assert_eq!(Question::host("a..b", true), None);
    }

    #[test]
    fn answers() {
        let seven = || Answer::Addresses(vec![IpAddr::from([192, 0, 2, 7])]);
        // An alias, whose name is that of the question again, before the address.
        let alias: &[u8] = &[0, 5, 0, 1, 0, 0, 0, 9, 0, 2, 0xc0, 12];
        for (message, read) in [
            (answer(0, &[ADDRESS]), seven()),
            (answer(0, &[alias, ADDRESS]), seven()),
            (answer(0, &[]), Answer::Addresses(vec![])),
            (answer(0, &[&ADDRESS[..9]]), Answer::Addresses(vec![])),
            (answer(2, &[]), Answer::Fails),
            (answer(3, &[]), Answer::NoSuchName),
            (answer(5, &[ADDRESS]), Answer::Fails),
        ] {
            assert_eq!(question().read(&message, ID), Some(read), "{message:?}");
        }
    }

    #[test]
    fn what_is_not_asked_for_is_no_answer() {
        let good = answer(0, &[ADDRESS]);
        assert_eq!(question().read(&good, ID + 1), None, "another number");
        assert_eq!(
            Question::host("other.example", true).unwrap().read(&good, ID),
            None
        );
        assert_eq!(
            Question::host("check.example", false).unwrap().read(&good, ID),
            None
        );
        assert_eq!(question().read(&question().query(ID), ID), None, "a query");
        for length in 0..31 {
            assert_eq!(question().read(&good[..length], ID), None, "cut at {length}");
        }
    }

    #[test]
    fn a_name_that_points_at_itself_ends() {
        let mut message = answer(0, &[ADDRESS]);
        message[12..14].copy_from_slice(&[0xc0, 12]);
        assert_eq!(question().read(&message, ID), None);
    }

    proptest! {
        /// Whatever comes, reading it ends, and never with more than was asked for.
        #[test]
        fn no_bytes_do_harm(mut bytes in proptest::collection::vec(any::<u8>(), 0..600), as_answer: bool) {
            if as_answer {
                let mut message = answer(0, &[ADDRESS]);
                message[7] = 255;
                message.append(&mut bytes);
                bytes = message;
            }
            if let Some(Answer::Addresses(addresses)) = question().read(&bytes, ID) {
                prop_assert!(addresses.len() <= MOST_ADDRESSES);
            }
        }
    }
}
