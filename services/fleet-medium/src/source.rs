//! The image, read from its beginning to its end, unpacked on the way.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Chain, Cursor, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::{FrameDecoder, StreamingDecoder};

use crate::failure::Failure;
use crate::medium::{Access, Medium};

/// What cannot be unpacked here: how it begins, and who can.
const OTHERS: [(&[u8], &str); 4] = [
    (b"\xfd7zXZ\0", "xz --decompress"),
    (b"BZh", "bzip2 --decompress"),
    (b"PK\x03\x04", "unzip"),
    (b"\x04\x22\x4d\x18", "lz4 --decompress"),
];

/// An image that is being read.
pub struct Source {
    /// Its file.
    pub path: PathBuf,
    /// In bytes; not known for a compressed one.
    pub size: Option<u64>,
    position: u64,
    bytes: Bytes,
}

enum Bytes {
    Raw(File),
    Gzip(Box<MultiGzDecoder<BufReader<File>>>),
    Zstd(Box<Zstd>),
}

impl Source {
    /// Opens an image; how it is compressed is told by its first bytes.
    ///
    /// # Errors
    /// It cannot be read, or is compressed in a way that is not unpacked here.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let medium = Medium::open(path, Access::Read)?;
        let failed = |error: &io::Error| Failure::read(path, error);
        let mut magic = [0; 6];
        let window = medium.window(0, medium.size);
        let length = usize::try_from(medium.size.min(6)).unwrap_or(6);
        window
            .read_at(0, &mut magic[..length])
            .map_err(|error| failed(&error))?;
        if let Some((_, tool)) = OTHERS.iter().find(|(begin, _)| magic.starts_with(begin)) {
            return Err(Failure::invalid(format!(
                "{} is compressed in a way that is not unpacked here: unpack it with `{tool}` first",
                path.display()
            )));
        }
        let mut file = File::open(path).map_err(|error| Failure::open(path, &error))?;
        file.rewind().map_err(|error| failed(&error))?;
        let (bytes, size) = match magic {
            [0x1f, 0x8b, ..] => {
                let gzip = MultiGzDecoder::new(BufReader::with_capacity(1 << 16, file));
                (Bytes::Gzip(Box::new(gzip)), None)
            }
            [0x28, 0xb5, 0x2f, 0xfd, ..] => (Bytes::Zstd(Box::new(Zstd::new(file))), None),
            _ => (Bytes::Raw(file), Some(medium.size)),
        };
        Ok(Self {
            path: path.to_owned(),
            size,
            position: 0,
            bytes,
        })
    }

    /// A raw image that is open already. It shares the position in the file, which nothing else of a medium uses.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn of(medium: &Medium) -> Result<Self, Failure> {
        let file = medium.file.try_clone();
        Ok(Self {
            path: medium.path.clone(),
            size: Some(medium.size),
            position: 0,
            bytes: Bytes::Raw(file.map_err(|error| Failure::read(&medium.path, &error))?),
        })
    }

    /// The program, with its options, that unpacks it to a file beside it; none for a raw image.
    #[must_use]
    pub const fn unpacker(&self) -> Option<&'static str> {
        match self.bytes {
            Bytes::Raw(_) => None,
            Bytes::Gzip(_) => Some("gzip --decompress --keep"),
            Bytes::Zstd(_) => Some("zstd --decompress"),
        }
    }

    /// Goes on to a place that is not before the position.
    ///
    /// # Errors
    /// It cannot be read or unpacked, or ends before.
    pub fn skip_to(&mut self, place: u64) -> Result<(), Failure> {
        if let Bytes::Raw(file) = &mut self.bytes {
            let sought = file.seek(SeekFrom::Start(place));
            self.position = sought.map_err(|error| Failure::read(&self.path, &error))?;
            return Ok(());
        }
        let mut waste = vec![0; 1 << 16];
        while self.position < place {
            let left = usize::try_from(place - self.position).unwrap_or(usize::MAX);
            let wanted = left.min(waste.len());
            if self.read(&mut waste[..wanted])? == 0 {
                return Err(self.cut_off(self.position));
            }
        }
        Ok(())
    }

    /// Fills the buffer; less is the image's end.
    ///
    /// # Errors
    /// It cannot be read or unpacked.
    pub fn read(&mut self, into: &mut [u8]) -> Result<usize, Failure> {
        let mut filled = 0;
        while filled < into.len() {
            let rest = &mut into[filled..];
            let read = match &mut self.bytes {
                Bytes::Raw(file) => file.read(rest),
                Bytes::Gzip(gzip) => gzip.read(rest),
                Bytes::Zstd(zstd) => zstd.read(rest),
            };
            match read {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if self.size.is_some() || is_of_the_system(&error) => {
                    return Err(Failure::read(&self.path, &error));
                }
                Err(error) => {
                    return Err(Failure::invalid(format!(
                        "{} cannot be unpacked beyond byte {} of the image: {error}. It is damaged or cut off; download it \
                         again",
                        self.path.display(),
                        self.position
                    )));
                }
            }
        }
        self.position += u64::try_from(filled).unwrap_or_default();
        Ok(filled)
    }

    /// The image ends before its block map does.
    #[must_use]
    pub fn cut_off(&self, place: u64) -> Failure {
        Failure::invalid(format!(
            "{} ends at byte {place}, and its block map goes on: it is cut off, or the map is of another image",
            self.path.display()
        ))
    }
}

/// A file, and the four bytes of it that were looked at.
type Peeked = Chain<Cursor<[u8; 4]>, BufReader<File>>;

/// zstd frames, one after the other (RFC 8878), with their checksums.
struct Zstd {
    frame: Option<StreamingDecoder<Peeked, FrameDecoder>>,
    between: Option<BufReader<File>>,
}

impl Zstd {
    fn new(file: File) -> Self {
        Self {
            frame: None,
            between: Some(BufReader::with_capacity(1 << 16, file)),
        }
    }

    /// Begins the next frame. Returns whether there is one.
    fn next(&mut self) -> io::Result<bool> {
        let Some(mut source) = self.between.take() else {
            return Ok(false);
        };
        while !source.fill_buf()?.is_empty() {
            let mut magic = [0; 4];
            source.read_exact(&mut magic)?;
            // A frame that is to be skipped (section 3.1.2).
            if magic[0] & 0xf0 == 0x50 && magic[1..] == [0x2a, 0x4d, 0x18] {
                let mut length = [0; 4];
                source.read_exact(&mut length)?;
                let length = u64::from(u32::from_le_bytes(length));
                if io::copy(&mut source.by_ref().take(length), &mut io::sink())? < length {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                continue;
            }
            let decoder = StreamingDecoder::new(Cursor::new(magic).chain(source));
            self.frame = Some(decoder.map_err(io::Error::other)?);
            return Ok(true);
        }
        Ok(false)
    }
}

impl Read for Zstd {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            let Some(frame) = &mut self.frame else {
                if self.next()? {
                    continue;
                }
                return Ok(0);
            };
            let read = frame.read(into)?;
            if read > 0 || into.is_empty() {
                return Ok(read);
            }
            let decoder = &frame.decoder;
            let sum = decoder.get_checksum_from_data();
            if sum.is_some() && sum != decoder.get_calculated_checksum() {
                return Err(io::Error::other("its checksum is another"));
            }
            self.between = self.frame.take().map(|frame| frame.into_inner().into_inner().1);
        }
    }
}
/// Whether it is the file that could not be read, and not what was read that cannot be unpacked.
fn is_of_the_system(error: &io::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(now) = cause {
        let io = now.downcast_ref::<io::Error>();
        if io.is_some_and(|error| error.raw_os_error().is_some()) {
            return true;
        }
        // What is inside of an error of io's own is not its source, but itself.
        cause = io
            .and_then(|error| error.get_ref())
            .map(|inner| inner as &(dyn std::error::Error + 'static))
            .or_else(|| now.source());
    }
    false
}
