//! GPT.

use gpt::GptConfig;
use gpt::disk::LogicalBlockSize;

use super::{FileSystem, Kind, Partition, Table};
use crate::medium::Medium;

/// Reads the table. The second copy of it may be missing: an image is put on a larger card.
pub(super) fn read(medium: &Medium) -> Result<Table, String> {
    let sizes = match &medium.block {
        Some(block) => {
            vec![LogicalBlockSize::try_from(block.sector_size()).map_err(|error| error.to_string())?]
        }
        // An image does not say for which sectors it was made.
        None => vec![LogicalBlockSize::Lb512, LogicalBlockSize::Lb4096],
    };
    let mut why = String::new();
    for sector in sizes {
        let config = GptConfig::new().writable(false).logical_block_size(sector);
        match config.open_from_device(medium.window(0, medium.size)) {
            Ok(disk) => {
                let partition = |(&number, partition): (&u32, &gpt::partition::Partition)| {
                    Some(Partition {
                        number,
                        name: partition.name.clone(),
                        start: partition.bytes_start(sector).ok()?,
                        size: partition.bytes_len(sector).ok()?,
                        file_system: FileSystem::Unknown,
                    })
                };
                let used = disk.partitions().iter().filter(|(_, entry)| entry.is_used());
                let partitions = used.map(partition).collect::<Option<_>>();
                return Ok(Table {
                    kind: Kind::Gpt,
                    identity: disk.guid().to_string(),
                    partitions: partitions.ok_or("its GPT has a partition that ends before it begins")?,
                });
            }
            Err(error) if why.is_empty() => why = error.to_string(),
            Err(_) => {}
        }
    }
    Err(format!("its GPT cannot be read: {why}"))
}
