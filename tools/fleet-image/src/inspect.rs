//! `fleet-image inspect`.

use std::path::PathBuf;

use fleet_base::exit::Exit;
use fleet_config::document::Document;
use fleet_config::offline::Keyfiles;
use fleet_medium::boot_partition;
use fleet_medium::failure::Failure;
use fleet_medium::medium::{Medium, Window};
use fleet_medium::table::{FileSystem, Partition, Table};
use serde_json::{Map, Value, json};

use crate::flash::progress::{Phase, Progress, Style};
use crate::{judgement, output, undo, unpacked};

/// What of os-release(5) is shown.
const RELEASE: [&str; 5] = ["PRETTY_NAME", "ID", "VERSION_ID", "IMAGE_ID", "IMAGE_VERSION"];

/// What `fleet-image inspect` is asked for.
#[derive(clap::Args)]
pub struct Arguments {
    /// The image: raw (.img, .wic), or compressed by gzip or zstd; or the block device of a card
    image: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Shows what is in an image.
pub fn main(arguments: &Arguments) -> Result<Exit, Failure> {
    let medium = {
        // Of people; the JSON is that of the report.
        let mut progress = Progress::new(Style::for_output(false), Phase::Unpack, None);
        unpacked::Image::open(&arguments.image, &mut progress)?.medium
    };
    let table = Table::read(&medium)?;
    let systems: Vec<_> = table
        .partitions
        .iter()
        .filter(|partition| is_root(partition))
        .map(|partition| (name(partition), System::read(&medium, partition)))
        .collect();
    let is_interrupted = undo::is_pending(&medium, &table);
    let boot = table.boot().and_then(|partition| Boot::read(&medium, partition));

    if arguments.json {
        let report = json!({
            "image": medium.path.to_string_lossy(),
            "size": medium.size,
            "table": table.kind.to_string().to_lowercase(),
            "identity": table.identity,
            "interrupted": is_interrupted,
            "partitions": table.partitions.iter().map(partition_json).collect::<Value>(),
            "systems": systems.iter().map(|(name, system)| system.json(name)).collect::<Value>(),
            "boot": boot.as_ref().map_or(Value::Null, Boot::json),
        });
        output::line(&format!("{report:#}"))?;
    } else {
        output::line(&format!(
            "{}: {}, {}, disk {}",
            medium.path.display(),
            table.kind,
            fleet_base::size::bytes(medium.size),
            table.identity
        ))?;
        let mut rows = vec![["NUMBER", "NAME", "FILE SYSTEM", "LABEL", "START", "SIZE"].map(str::to_owned)];
        rows.extend(table.partitions.iter().map(partition_row));
        output::table(&rows)?;
        for (name, system) in &systems {
            output::line(&format!("{name}: {}", system.sentence()))?;
        }
        if is_interrupted {
            output::line("A `configure` of it was interrupted: run it again, which takes that back first.")?;
        }
        if let Ok(boot) = &boot {
            boot.print()?;
        }
    }
    match boot {
        Ok(boot) if boot.is_good() && !is_interrupted => Ok(Exit::Done),
        Ok(_) => Ok(Exit::InvalidData),
        Err(why) => Err(Failure::invalid(format!("{}: {why}", medium.path.display()))),
    }
}

fn is_root(partition: &Partition) -> bool {
    let is_root = |name: &str| name.starts_with("fleet-root");
    is_root(&partition.name) || is_root(partition.file_system.label())
}

/// Its name, where the table has none its label.
fn name(partition: &Partition) -> String {
    output::shown(match partition.name.as_str() {
        "" => partition.file_system.label(),
        name => name,
    })
}

fn partition_row(partition: &Partition) -> [String; 6] {
    [
        partition.number.to_string(),
        output::shown(&partition.name),
        partition.file_system.name().to_owned(),
        output::shown(partition.file_system.label()),
        fleet_base::size::bytes(partition.start),
        fleet_base::size::bytes(partition.size),
    ]
}

fn partition_json(partition: &Partition) -> Value {
    json!({
        "number": partition.number,
        "name": partition.name,
        "file_system": partition.file_system.name(),
        "label": partition.file_system.label(),
        "start": partition.start,
        "size": partition.size,
    })
}

/// A root slot, for the reader of ext4.
struct Slot(Window);

impl ext4_view::Ext4Read for Slot {
    fn read(
        &mut self,
        place: u64,
        into: &mut [u8],
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync + 'static>> {
        Ok(self.0.read_at(place, into)?)
    }
}

/// The system in a root slot.
enum System {
    /// The fields of its os-release that are known here.
    Release(Vec<(&'static str, String)>),
    /// Why it is not known.
    Unknown(String),
}

impl System {
    fn read(medium: &Medium, partition: &Partition) -> Self {
        if !matches!(partition.file_system, FileSystem::Ext(_)) {
            return Self::Unknown(format!(
                "the system is not read: its file system is {}, not ext4",
                partition.file_system.name()
            ));
        }
        let window = medium.window(partition.start, partition.size);
        let read = ext4_view::Ext4::load(Box::new(Slot(window))).and_then(|root| {
            root.read("/etc/os-release")
                .or_else(|_| root.read("/usr/lib/os-release"))
        });
        match read {
            Ok(bytes) => Self::Release(release(&String::from_utf8_lossy(&bytes))),
            Err(error) => Self::Unknown(format!("its os-release cannot be read: {error}")),
        }
    }

    fn sentence(&self) -> String {
        match self {
            Self::Unknown(why) => why.clone(),
            Self::Release(fields) => {
                let field = |name| fields.iter().find(|(known, _)| *known == name);
                let mut words: Vec<_> = field("PRETTY_NAME")
                    .map(|(_, value)| output::shown(value))
                    .into_iter()
                    .collect();
                for name in ["VERSION_ID", "IMAGE_ID", "IMAGE_VERSION"] {
                    words.extend(field(name).map(|(name, value)| format!("{name}={}", output::shown(value))));
                }
                words.join(", ")
            }
        }
    }

    fn json(&self, name: &str) -> Value {
        match self {
            Self::Unknown(why) => json!({"partition": name, "problem": why}),
            Self::Release(fields) => {
                let fields = fields
                    .iter()
                    .map(|(key, value)| (key.to_lowercase(), json!(value)));
                let mut object: Map<String, Value> = fields.collect();
                object.insert("partition".to_owned(), json!(name));
                Value::Object(object)
            }
        }
    }
}

/// os-release(5): a shell's assignments; escapes inside quotes are not used by anybody and left as they are.
fn release(text: &str) -> Vec<(&'static str, String)> {
    let value = |name: &'static str| {
        let mut lines = text.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
        Some((name, value.trim_matches(['"', '\'']).to_owned()))
    };
    RELEASE.into_iter().filter_map(value).collect()
}

/// The boot partition.
struct Boot {
    partition: u32,
    /// The configuration as people may see it, and what a device makes of it.
    config: Option<(Value, fleet_config::Checked)>,
    keyfiles: Keyfiles,
}

impl Boot {
    fn read(medium: &Medium, partition: &Partition) -> Result<Self, String> {
        let window = medium.window(partition.start, partition.size);
        let content = boot_partition::read(window).map_err(|error| {
            format!(
                "the boot partition (partition {}) is damaged: {error}. Repair it with fsck.vfat, or write the image again",
                partition.number
            )
        })?;
        let config = content.config.map(|bytes| {
            let shown =
                Document::parse(bytes.expose()).map_or(Value::Null, |document| document.shown_whole());
            (shown, fleet_config::check(bytes.expose()))
        });
        let files = content.keyfiles.into_iter();
        Ok(Self {
            partition: partition.number,
            config,
            keyfiles: Keyfiles::of(files.map(|(name, bytes)| (name, bytes.expose().clone()))),
        })
    }

    /// Whether a device would take all of it. One without a configuration runs with the product's.
    fn is_good(&self) -> bool {
        let config = self.config.as_ref();
        config.is_none_or(|(_, checked)| checked.is_good()) && self.keyfiles.refused.is_empty()
    }

    fn print(&self) -> Result<(), Failure> {
        match &self.config {
            None => output::line("There is no config.json: the device runs with the product's defaults.")?,
            Some((_, checked)) => {
                match &checked.problem {
                    Some(problem) => output::line(&format!("config.json: {problem}"))?,
                    None => output::line(&format!(
                        "config.json: {}",
                        output::count(checked.rows.len(), "key")
                    ))?,
                }
                let rows: Vec<_> = checked.rows.iter().map(judgement::row).collect();
                output::table(&rows)?;
            }
        }
        for name in self.keyfiles.good.keys() {
            output::line(&format!("system-connections/{name}"))?;
        }
        for (name, why) in &self.keyfiles.refused {
            output::line(&format!(
                "system-connections/{}: refused: {why}",
                output::shown(name)
            ))?;
        }
        Ok(())
    }

    fn json(&self) -> Value {
        let config = self.config.as_ref().map(|(document, checked)| {
            let mut report = judgement::json(checked);
            report["document"] = document.clone();
            report
        });
        json!({
            "partition": self.partition,
            "config": config,
            "keyfiles": self.keyfiles.good.keys().collect::<Vec<_>>(),
            "keyfiles_refused": self.keyfiles.refused,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_read() {
        let text = "NAME=x\nPRETTY_NAME=\"Fleet OS 0.1.0\"\nID=fleet\nVERSION_ID='0.1.0'\n";
        assert_eq!(
            release(text),
            [
                ("PRETTY_NAME", "Fleet OS 0.1.0".to_owned()),
                ("ID", "fleet".to_owned()),
                ("VERSION_ID", "0.1.0".to_owned())
            ]
        );
    }
}
