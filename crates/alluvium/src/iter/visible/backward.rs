//! The walk backwards, where the newest version of a key in sight comes last.

use super::{Position, SKIPS_BEFORE_SEEK, VisibleIterator, is_in_blob, set_target};
use crate::base::error::Result;
use crate::base::iterator::InternalIterator;
use crate::base::key::{self, SeqNo};
use crate::base::planted;

impl<I: InternalIterator> VisibleIterator<I> {
    /// Moves to the key before. Does nothing when not `valid`.
    pub(crate) fn prev(&mut self) -> Result<()> {
        let result = self.try_prev();
        self.keep(result)
    }

    fn try_prev(&mut self) -> Result<()> {
        self.forget_open();
        match self.position {
            Position::Off => return self.error.clone().map_or(Ok(()), Err),
            Position::OnSource => {
                // Back over the newer, hidden versions of this key too.
                key::copy_into(&mut self.saved_key, key::user_key(self.source.key()));
                self.position = Position::Off;
                self.leave_key_backward()?;
            }
            Position::InRows => {
                key::copy_into(&mut self.saved_key, self.rows.key(self.row));
                self.position = Position::Off;
                // The source is further on.
                set_target(&mut self.target, &self.saved_key, u64::MAX);
                self.rows.restart();
                self.behind_rows = false;
                if !planted::is("turn-behind-the-rows") {
                    self.source.seek_for_prev(&self.target)?;
                }
            }
            Position::Saved => self.position = Position::Off,
        }
        self.find_backward()
    }

    /// Asks the source to leave the covered stretch around the current key backwards.
    #[cold]
    fn skip_covered_backward(&mut self) -> Result<()> {
        let window = self.covers.at(key::user_key(self.source.key()))?;
        let Some(start) = &window.start else { return Ok(()) };
        set_target(&mut self.target, start, u64::MAX);
        self.source.skip_backward(&self.target, window.seq.plus(1))
    }

    /// Moves the source before every version of `saved_key`, on one of which it stands.
    fn leave_key_backward(&mut self) -> Result<()> {
        for _ in 0..SKIPS_BEFORE_SEEK {
            self.source.prev()?;
            if !self.source.valid() || key::user_key(self.source.key()) != self.saved_key.as_slice()
            {
                return Ok(());
            }
        }
        set_target(&mut self.target, &self.saved_key, u64::MAX);
        self.source.seek_for_prev(&self.target)
    }

    /// From where the source stands, finds the last key that is visible, key by key backwards.
    pub(super) fn find_backward(&mut self) -> Result<()> {
        let mut covered_keys = 0;
        while self.source.valid() {
            let user_key = key::user_key(self.source.key());
            if self.is_before_lower(user_key) {
                return Ok(());
            }
            let mut covering = self.covers.newest(user_key)?;
            if planted::is("range-tombstone-ignored-backwards") {
                covering = SeqNo::ZERO;
            }
            if covering > SeqNo::ZERO {
                covered_keys += 1;
                if covered_keys % SKIPS_BEFORE_SEEK == 1 {
                    self.skip_covered_backward()?;
                    continue;
                }
            }
            key::copy_into(&mut self.saved_key, user_key);
            if self.newest_visible_backward(covering)? {
                self.position = Position::Saved;
                return Ok(());
            }
        }
        Ok(())
    }

    /// The source stands on the oldest version of `saved_key`. Walks over all of them, keeps the
    /// value of the newest visible one, and says whether it is a value newer than `covering`.
    fn newest_visible_backward(&mut self, covering: SeqNo) -> Result<bool> {
        let mut found = false;
        for _ in 0..=SKIPS_BEFORE_SEEK {
            let trailer = key::trailer(self.source.key());
            let older_stays = found && planted::is("older-value-wins-backwards");
            if key::trailer_seq(trailer) <= self.sight.seq && !older_stays {
                let newer = key::trailer_seq(trailer) > covering;
                found = newer && self.save_live_value(trailer)?;
            }
            self.source.prev()?;
            if !self.source.valid() || key::user_key(self.source.key()) != self.saved_key.as_slice()
            {
                return Ok(found);
            }
        }
        // Very many versions: ask for the newest visible one instead, then go before them all.
        set_target(&mut self.target, &self.saved_key, key::seek_trailer(self.sight.seq));
        self.source.seek(&self.target)?;
        if self.source.valid() && key::user_key(self.source.key()) == self.saved_key.as_slice() {
            let trailer = key::trailer(self.source.key());
            let newer = key::trailer_seq(trailer) > covering;
            found = newer && self.save_live_value(trailer)?;
        }
        set_target(&mut self.target, &self.saved_key, u64::MAX);
        self.source.seek_for_prev(&self.target)?;
        Ok(found)
    }

    /// Keeps the value of the entry that the source stands on, and says whether it has one.
    fn save_live_value(&mut self, trailer: u64) -> Result<bool> {
        let Some(start) = self.live_value_start(trailer)? else {
            self.note_tombstone();
            return Ok(false);
        };
        self.saved_value = self.source.value_handle();
        self.value_start = start;
        self.in_blob = is_in_blob(trailer);
        Ok(true)
    }
}
