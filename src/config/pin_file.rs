use super::Pin;
use std::path::Path;
#[derive(Debug, thiserror::Error)]
#[error("x")]
pub struct PinFileError;
pub fn read(path: &Path) -> Result<Pin, PinFileError> {
    std::fs::read_to_string(path)
        .map(|t| Pin::new(t.trim_end().to_owned()))
        .map_err(|_| PinFileError)
}
