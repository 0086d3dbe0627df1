//! Envelopes in the three forms of slots, and what every holder of one may do to it.

use crate::fixture::{assert_kind, context, every_way};
use crate::place::Place;
use crate::raw::{Parts, SlotCopy};
use keyward::envelope::{DetachedSlots, Recipients, Reencrypt, ReencryptOutcome, Rewrap, RewrapOutcome};
use keyward::{Decryptor, Encryptor, ErrorKind, KeyProvider, Result};
use std::io::{Cursor, Write};

/// Where an envelope keeps its slot copy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Form {
    Plain,
    Detached,
    Compact,
}

impl Form {
    pub(crate) const ALL: [Self; 3] = [Self::Plain, Self::Detached, Self::Compact];

    pub(crate) fn seal(self, encryptor: &Encryptor<'_>, text: &[u8]) -> Sealed {
        let encryptor = encryptor.clone();
        let (file, slots) = match self {
            Self::Plain => (encryptor.encrypt(text).unwrap(), None),
            Self::Compact => (encryptor.compact().encrypt(text).unwrap(), None),
            Self::Detached => {
                let (mut writer, slots) = encryptor.writer_detached(Vec::new()).unwrap();
                writer.write_all(text).unwrap();
                (writer.finish().unwrap(), Some(slots))
            }
        };
        let parts = Parts::of(&file);
        let copy = slots.map_or_else(|| parts.active(), |slots| SlotCopy::read(slots.as_bytes()).unwrap());
        Sealed { form: self, parts, copy }
    }
}

/// An envelope whose slot copy can be exchanged.
#[derive(Clone, Debug)]
pub(crate) struct Sealed {
    pub(crate) form: Form,
    parts: Parts,
    pub(crate) copy: SlotCopy,
}

impl Sealed {
    pub(crate) fn core(&self) -> &[u8] {
        &self.parts.core
    }

    pub(crate) fn entries(&self) -> Vec<Vec<u8>> {
        self.copy.list()
    }

    /// The same envelope with another slot copy, as an attacker would write it: the tag is that of the copy.
    pub(crate) fn with(&self, copy: SlotCopy) -> Self {
        Self { copy, ..self.clone() }
    }

    /// The same with these entries and the old tag.
    pub(crate) fn with_entries(&self, entries: &[Vec<u8>]) -> Self {
        self.with(SlotCopy { tag: self.copy.tag, ..SlotCopy::new(self.copy.generation, entries) })
    }

    /// The same with the right tag, which needs the data key.
    pub(crate) fn tagged(&self, data_key: &[u8; 32]) -> Self {
        self.with(self.copy.clone().tagged(data_key, self.core()))
    }

    pub(crate) fn file(&self) -> Vec<u8> {
        match self.form {
            Form::Detached => self.parts.bytes(),
            Form::Plain | Form::Compact => self.parts.with_copy(&self.copy).bytes(),
        }
    }

    fn slots(&self) -> Result<DetachedSlots> {
        DetachedSlots::from_bytes(self.copy.bytes())
    }

    fn give_slots<'a>(&self, decryptor: Decryptor<'a>) -> Result<Decryptor<'a>> {
        match self.form {
            Form::Detached => Ok(decryptor.detached_slots(self.slots()?)),
            Form::Plain | Form::Compact => Ok(decryptor),
        }
    }

    /// Reads in [every way](every_way).
    #[track_caller]
    pub(crate) fn read_with(&self, decryptor: Decryptor<'_>) -> Result<Vec<u8>> {
        let decryptor = self.give_slots(decryptor)?;
        every_way(|| decryptor.clone(), &self.file())
    }

    #[track_caller]
    pub(crate) fn read(&self, provider: &dyn KeyProvider) -> Result<Vec<u8>> {
        self.read_with(Decryptor::new(provider).context(context()))
    }

    /// Rewraps in every way that the form has, or returns `None` if there was nothing to do. Files stay as they were
    /// if a rewrap fails.
    #[track_caller]
    pub(crate) fn rewrapped(&self, rewrap: &Rewrap<'_>) -> Result<Option<Self>> {
        let answers = match self.form {
            Form::Plain => vec![self.rewrapped_file(rewrap, false), self.rewrapped_file(rewrap, true)],
            Form::Detached => vec![self.rewrapped_slots(rewrap)],
            Form::Compact => vec![self.rewrapped_file(rewrap, false), self.rewrapped_record(rewrap)],
        };
        let summary = |answer: &Result<Option<Self>>| match answer {
            Ok(None) => Ok(None),
            Ok(Some(sealed)) => Ok(Some((sealed.copy.generation, sealed.entries().len()))),
            Err(error) => Err(error.kind()),
        };
        let summaries: Vec<_> = answers.iter().map(summary).collect();
        assert!(summaries.iter().all(|one| *one == summaries[0]), "{summaries:?}");
        answers.into_iter().next().unwrap()
    }

    fn rewrapped_file(&self, rewrap: &Rewrap<'_>, copy: bool) -> Result<Option<Self>> {
        let place = Place::new(&self.file());
        let answer = rewrap.clone().copy(copy).file(&place.path);
        let changed = matches!(answer, Ok(RewrapOutcome::Rewrapped { .. }));
        assert_eq!(place.bytes() != self.file(), changed, "{answer:?}");
        answer.map(|_| changed.then(|| self.after(&place.bytes())))
    }

    fn rewrapped_record(&self, rewrap: &Rewrap<'_>) -> Result<Option<Self>> {
        Ok(rewrap.compact(&self.file())?.map(|record| self.after(&record)))
    }

    fn rewrapped_slots(&self, rewrap: &Rewrap<'_>) -> Result<Option<Self>> {
        let slots = rewrap.detached(&mut Cursor::new(self.file()), &self.slots()?)?;
        Ok(slots.map(|slots| self.with(SlotCopy::read(slots.as_bytes()).unwrap())))
    }

    /// What a rewrap made of this: CORE and BODY are the same.
    fn after(&self, file: &[u8]) -> Self {
        let parts = Parts::of(file);
        assert_eq!((&parts.core, &parts.body), (&self.parts.core, &self.parts.body));
        Self { form: self.form, copy: parts.active(), parts }
    }

    /// Re-encrypts, or returns `None` if the file was fresh enough. It stays as it was then, and if that fails.
    pub(crate) fn reencrypted_with(
        &self,
        decryptor: Decryptor<'_>,
        recipients: Recipients<'_>,
        change: impl FnOnce(Reencrypt<'_>) -> Reencrypt<'_>,
    ) -> Result<Option<Self>> {
        let place = Place::new(&self.file());
        let decryptor = self.give_slots(decryptor)?;
        let answer = change(Reencrypt::new(decryptor, recipients)).file(&place.path);
        let changed = matches!(answer, Ok(ReencryptOutcome::Reencrypted { .. }));
        assert_eq!(place.bytes() != self.file(), changed, "{answer:?}");
        let form = if self.form == Form::Compact { Form::Compact } else { Form::Plain };
        answer.map(|_| changed.then(|| Self { form, copy: place.parts().active(), parts: place.parts() }))
    }

    pub(crate) fn reencrypted(&self, provider: &dyn KeyProvider, recipients: Recipients<'_>) -> Result<Option<Self>> {
        self.reencrypted_with(Decryptor::new(provider).context(context()), recipients, |reencrypt| reencrypt)
    }

    /// Nothing that a holder of keys may do with it works, and each answer is of this kind.
    #[track_caller]
    pub(crate) fn refused(&self, provider: &dyn KeyProvider, kind: ErrorKind, case: impl std::fmt::Display) {
        let main = crate::fixture::name("main");
        let rewrap = Rewrap::new(provider).context(context());
        assert_kind(self.read(provider), kind, format!("{case}, read"));
        for rewrap in [rewrap.clone(), rewrap.to(&main)] {
            assert_kind(self.rewrapped(&rewrap), kind, format!("{case}, rewrapped"));
        }
        let named = Recipients::Named(Encryptor::new(provider, &main));
        for recipients in [Recipients::SameKey(provider), Recipients::KeepKeys(provider), named] {
            let way = format!("{case}, re-encrypted for {recipients:?}");
            assert_kind(self.reencrypted(provider, recipients), kind, way);
        }
    }
}
