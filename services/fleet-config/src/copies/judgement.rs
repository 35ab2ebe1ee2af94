//! What takes more than a look at the value: certificates, which OpenSSL judges, in a process of its own.
//!
//! They are judged before they are accepted, because what is accepted takes the place of what held before: one that
//! turned out to be bad only when it is applied would leave nothing after the next reboot. So an edit or a change with
//! certificates that nobody judged stops in front of them ([`Copies::unjudged`]), the service has them judged
//! ([`Copies::judged`]), and the edit or the change is made again.

use super::Copies;
use crate::config::root_ca;
use crate::document::Document;
use crate::finding::{Finding, Verdict, inspect};
use crate::value::{Refusal, RootCa, Uuid};

const ROOT_CA: &str = "balenaRootCA";
/// So many are remembered: that of the file, and that of a change.
const MOST: usize = 4;

/// Certificates that wait for a judgement.
#[derive(Clone)]
pub(crate) struct Unjudged {
    pub(crate) certificates: RootCa,
    /// They were refused before, and nobody gave them anew.
    pub(crate) was_refused: bool,
}

/// What was judged.
#[derive(Default)]
pub(super) struct Judgements {
    waiting: Option<Unjudged>,
    /// The newest first; why, if they are refused.
    made: Vec<(RootCa, Option<String>)>,
}

impl Judgements {
    pub(super) const fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }
}

impl Copies {
    /// What an edit or a change waits for.
    pub(crate) fn unjudged(&self) -> Option<Unjudged> {
        self.judgements.waiting.clone()
    }

    /// Certificates were judged: why they are refused, if they are. The edit is to be read again, the change to be made
    /// again.
    pub(crate) fn judged(&mut self, certificates: RootCa, refused: Option<String>) {
        self.judgements.made.insert(0, (certificates, refused));
        self.judgements.made.truncate(MOST);
        self.import();
        if self.is_settled() {
            super::export::abandon(&self.boot.document);
        }
    }

    /// Takes no judgement for granted: the clock may be another one.
    pub(crate) fn doubt_judgements(&mut self) {
        self.judgements.made.clear();
    }

    /// A change was judged: what it brought is judged anew the next time, because its refusal may have been the clock's.
    /// What the file holds is not.
    pub(super) fn forget_judgements(&mut self) {
        if self.judgements.made.is_empty() {
            return;
        }
        let known = self.on_boot.as_ref().and_then(certificates);
        let made = &mut self.judgements.made;
        made.retain(|(judged, _)| Some(judged) == known.as_ref());
    }

    /// Nothing waits any more.
    pub(super) fn forget_waiting(&mut self) {
        self.judgements.waiting = None;
    }

    /// Whether nobody judged the certificates of this document, or of what the file held; they wait then.
    pub(super) fn is_unjudged(&mut self, document: &Document) -> bool {
        if !self.boot.certificates_are_judged {
            return false;
        }
        let waiting = [Some(document), self.on_boot.as_ref()]
            .into_iter()
            .flatten()
            .filter(|document| document.setting(ROOT_CA) != self.accepted().setting(ROOT_CA))
            .filter_map(certificates)
            .find(|found| {
                let is_judged = self.judgements.made.iter().any(|(judged, _)| judged == found);
                !is_judged && certificates(self.accepted()).as_ref() != Some(found)
            });
        self.judgements.waiting = waiting.map(|certificates| Unjudged {
            was_refused: self.was_refused(&certificates),
            certificates,
        });
        self.judgements.waiting.is_some()
    }

    /// Whether the file had these already, and they were refused.
    fn was_refused(&self, found: &RootCa) -> bool {
        let known = self.on_boot.as_ref().and_then(certificates);
        known.as_ref() == Some(found) && self.stored.boot.refused.iter().any(|key| key == ROOT_CA)
    }

    /// What is found in a document, with what was judged.
    pub(super) fn inspect(&self, document: &Document, identity: &Uuid) -> Vec<Finding> {
        let mut findings = inspect(document, Some(identity));
        if self.judgements.made.is_empty() || document.setting(ROOT_CA) == self.accepted().setting(ROOT_CA) {
            return findings;
        }
        let found = findings
            .iter_mut()
            .find(|finding| finding.verdict == Verdict::Good && finding.name() == ROOT_CA);
        if let Some((finding, certificates)) = found.zip(certificates(document)) {
            let mut made = self.judgements.made.iter();
            let judged = made.find(|(judged, _)| *judged == certificates);
            if let Some((_, Some(reason))) = judged {
                finding.verdict = Verdict::Bad(Refusal::Problem(reason.clone()));
            }
        }
        findings
    }
}

/// The certificates of a document, if their form is good.
fn certificates(document: &Document) -> Option<RootCa> {
    root_ca(document.setting(ROOT_CA)?).ok()?
}
