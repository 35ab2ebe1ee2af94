//! The installation. Its order is what makes it safe to lose the power at any moment, as long as the board is started from
//! the flasher again:
//!
//! | step | the device then | the configuration of the device is |
//! |---|---|---|
//! | 1. what the device has is kept on the flasher's boot partition, synced and read back | as it was | on both |
//! | 2. the first MiB of the device becomes zeros, then where the image has nothing, then everything else is written | starts no more | on the flasher |
//! | 3. all of that is read back and compared | starts no more | on the flasher |
//! | 4. the configuration goes into the new boot partition, and is read back | starts no more | on the flasher |
//! | 5. the first MiB is written, its first sector last, and read back | whole from that sector on | on both |
//! | 6. what was kept is removed from the flasher | whole | on the device |
//!
//! Whether the device has a first sector is the only thing that is remembered of an earlier run: with it the device is whole
//! and its own configuration counts, without it what was kept does. Cut in 1, the device is as it was and 1 is done anew;
//! cut in 2 to 5, everything is done anew with what was kept; cut in 6, with what is on the device, which is the same.

use std::path::Path;

use fleet_base::size;
use fleet_medium::boot_partition::{self, Content};
use fleet_medium::failure::Failure;
use fleet_medium::overlay::Overlay;
use fleet_medium::table::Table;
use fleet_medium::target::Target;
use fleet_medium::writing::{self, Image};

use crate::console::Console;
use crate::content::{self, Found};
use crate::settings::Keep;
use crate::stash::Stash;

/// What is installed, and to where.
pub(crate) struct Installation<'a> {
    /// The image.
    pub(crate) image: &'a Path,
    /// The device.
    pub(crate) target: &'a Path,
    /// What tells the device from others.
    pub(crate) identity: &'a str,
    /// The flasher's boot partition, mounted.
    pub(crate) boot: &'a Path,
    pub(crate) keep: Keep,
}

impl Installation<'_> {
    /// Does it, from the start.
    pub(crate) fn run(&self, console: &mut dyn Console) -> Result<(), Failure> {
        let own = content::read(self.boot)?;
        for sentence in content::check(&own, self.boot)? {
            console.say(&sentence)?;
        }
        let mut image = Image::open(self.image, None)?;
        let mut target = writing::open_target(self.target)?;
        image.fits(&target.medium)?;
        let stash = Stash::on(self.boot, self.identity);
        let device = self.of_the_device(&target, &stash, own.config.is_some(), console)?;
        console.say(&sentence(&own, &device))?;
        let wanted = content::merged(own, device);

        console.begin("clear", Some(image.to_clear(&target.medium)))?;
        let cleared = image.clear(&target, console)?;
        console.begin("write", image.mapped())?;
        let body = image.write(&target, cleared, console)?;
        console.begin("verify", Some(body.to_verify()))?;
        target.verify(&body.written, &body.head, console)?;
        console.say("putting the configuration in place")?;
        target.medium.hold_head(body.head.clone());
        configure(&target, &wanted)?;
        console.say("putting the partition table in place")?;
        target.commit(&body.head)?;
        is_whole(&mut target, &wanted)?;
        console.say("the device is whole, with its configuration")?;
        if let Err(failure) = stash.remove() {
            // Whoever finds it on a whole device knows that it is old.
            console.say(&format!("what was kept on this medium stays there: {failure}"))?;
        }
        console.say(&format!("{} are written and verified", size::bytes(body.bytes())))
    }

    /// What the device has or had, kept on this medium when it returns.
    fn of_the_device(
        &self,
        target: &Target,
        stash: &Stash,
        has_own: bool,
        console: &mut dyn Console,
    ) -> Result<Content, Failure> {
        if self.keep == Keep::Nothing {
            stash.remove()?;
            return Ok(content::none());
        }
        let content = match Found::on(&target.medium)? {
            Found::Nothing => {
                let kept = stash.read()?;
                if !content::is_none(&kept) {
                    console.say(
                        "an earlier run was interrupted: going on with what it has kept of the device",
                    )?;
                }
                return Ok(kept);
            }
            Found::Whole(content) => content,
            Found::Damaged(why) if has_own => {
                console.say(&format!("what the device has is not kept: {why}"))?;
                content::none()
            }
            Found::Damaged(why) => {
                return Err(Failure::invalid(format!(
                    "there is something on {}, and its configuration cannot be kept: {why}. Nothing was changed. Put a \
                     config.json on this medium's boot partition, or write `keep = nothing` into flasher.txt there, to install \
                     without what the device has",
                    self.target.display()
                )));
            }
        };
        if !content::is_none(&content) {
            console.say("keeping the configuration of the device on this medium")?;
        }
        stash.keep(&content)?;
        Ok(content)
    }
}

/// Reads it as the next start does.
fn is_whole(target: &mut Target, wanted: &Content) -> Result<(), Failure> {
    // Not closed and opened again: udev would look into it in between, and keep it.
    target.medium.hold_head(Vec::new());
    match Found::on(&target.medium)? {
        Found::Whole(content) if has(&content, wanted) => Ok(()),
        Found::Damaged(why) => Err(Failure::invalid(why)),
        _ => Err(Failure::invalid(
            "the configuration is not on the device as it was written",
        )),
    }
}

/// Whether all that is wanted is there.
fn has(content: &Content, wanted: &Content) -> bool {
    let mut keyfiles = wanted.keyfiles.iter();
    (wanted.config.is_none() || content.config == wanted.config)
        && keyfiles.all(|(name, bytes)| content.keyfiles.get(name) == Some(bytes))
}

fn sentence(own: &Content, device: &Content) -> String {
    let from = match (&own.config, &device.config) {
        (Some(_), _) => "this medium",
        (None, Some(_)) => "the device",
        (None, None) => "the image, if it has one",
    };
    format!(
        "config.json is that of {from}; network profiles: {} of this medium, {} of the device",
        own.keyfiles.len(),
        device.keyfiles.len()
    )
}

/// Puts it on the boot partition of the new system, whose table is not on the device yet.
fn configure(target: &Target, wanted: &Content) -> Result<(), Failure> {
    if content::is_none(wanted) {
        return Ok(());
    }
    let medium = &target.medium;
    let named = |what: &str| Failure::invalid(format!("the image cannot take the configuration: {what}"));
    let table = Table::read(medium)?;
    let boot = table.boot().map_err(|why| named(&why))?;
    let config = wanted.config.as_ref().map(|config| config.expose().as_slice());
    let mut overlay = Overlay::new(medium.window(boot.start, boot.size));
    boot_partition::put(&mut overlay, config, &wanted.keyfiles).map_err(|error| named(&error.to_string()))?;
    let read = boot_partition::read(&mut overlay).map_err(|error| named(&error.to_string()))?;
    if !has(&read, wanted) {
        return Err(named("its FAT gives back something else"));
    }
    let changes = overlay
        .changes()
        .map_err(|error| Failure::read(&medium.path, &error))?;
    for change in &changes {
        target.write(change.place, &change.new)?;
    }
    target.sync()?;
    for change in &changes {
        target.verify_bytes(change.place, &change.new)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
