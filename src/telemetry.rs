//! Logs on stderr: text on a terminal, one JSON object a line elsewhere. Stdout belongs to the five start lines.
//!
//! No token, claim, PIN or Authorization header is ever a field. The filter is that of `MACP_AUTH_LOG`.

use tracing_subscriber::EnvFilter;

/// What is logged where nothing is configured. The target `cryptoki` repeats whole pages of the standard.
const DEFAULT_FILTER: &str = "info,cryptoki=off";

/// The value of `MACP_AUTH_LOG` is no filter.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadFilter(#[from] tracing_subscriber::filter::ParseError);

/// Reads a filter such as `debug` or `info,macp_auth_service::web=debug`.
///
/// # Errors
/// [`BadFilter`] says where.
pub fn filter(directives: Option<&str>) -> Result<EnvFilter, BadFilter> {
    let directives = directives.map_or_else(
        || DEFAULT_FILTER.to_owned(),
        |asked| format!("cryptoki=off,{asked}"),
    );
    Ok(EnvFilter::try_new(directives)?)
}

/// Installs the log for the life of the process; a second call changes nothing.
pub fn start(filter: EnvFilter, terminal: bool) {
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    // An installed log stays as it is.
    if terminal {
        log.with_ansi(true).try_init().ok();
    } else {
        log.json().flatten_event(true).try_init().ok();
    }
}
