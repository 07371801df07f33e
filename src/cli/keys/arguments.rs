//! What the `keys` commands are told on the command line.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use clap::{Args, Subcommand};

use super::span::Span;
use crate::jose::Algorithm;
use crate::keys::label::Instant;

/// One of the `keys` commands.
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Show the keys: state, times, tokens, and why one is not used
    List(ListArguments),
    /// Show what happens when: as a table, and as a line a key
    Plan(PlanArguments),
    /// Make a key on every token
    #[command(after_help = GENERATE_HELP)]
    Generate(GenerateArguments),
    /// Make a key that signs as soon as that is safe, and show the plan
    Rotate(RotateArguments),
    /// Show which keys nobody needs any more; with --yes, destroy them
    #[command(after_help = PRUNE_HELP)]
    Prune(PruneArguments),
    /// Say how long a key could still verify once it is revoked, and what would sign then; revokes nothing
    RevokeBound(RevokeBoundArguments),
    /// Write a signed record of a key that is on the tokens already
    #[command(after_help = RECORD_HELP)]
    Record(RecordKeyArguments),
    /// Check a record of `keys generate --record` or `keys record`, offline
    #[command(after_help = VERIFY_HELP)]
    VerifyRecord(VerifyRecordArguments),
}

const GENERATE_HELP: &str = "\
The first key signs at once. Every other one is published for the lead (MACP_AUTH_KEY_LEAD_SECONDS) before it signs:
without a time it signs after the lead and 60 s. Several tokens get a key of their own each, all with the same instant.

  keys generate                        the algorithm of the present key, after the lead
  keys generate --alg ES256 --activate-in 2h
  keys generate --now                  present instant: it still waits for the lead while another key may sign

--record writes what is known of the key at its making, signed by the key, to a new file of mode 0600. With several tokens the
files are numbered in the order of the configuration: key.json becomes key-1.json, key-2.json.";

const RECORD_HELP: &str = "\
For a key that another program made, and for what the vendor's tool attests only once the key is there. The key signs the record,
so it must be one that the service would use. If several tokens hold it, each gets a record: key.json becomes key-1.json, key-2.json,
in the order of the configuration.";

const VERIFY_HELP: &str = "\
Needs neither configuration nor token. Checks the signature, that kid and self-test are the key's, and that no part contradicts
another. What only the vendor can prove, that the key is in an HSM, stands in the attestation, which is shown and not checked.

Exit codes:
  0  the record holds
  1  it does not, or cannot be read; the reason is on stderr";

const PRUNE_HELP: &str = "\
Only EXPIRED keys are destroyed, with their public halves: those that no instance publishes any more. Never the active key, the last
one, or one of the algorithm that does not sign; and nothing where a token cannot be read or holds no active key.";

impl KeysCommand {
    /// Whether something is not as before, on a token or in a file, once it succeeded.
    pub(super) const fn changes_something(&self) -> bool {
        match self {
            Self::Generate(asked) => !asked.make.dry_run,
            Self::Rotate(asked) => !asked.make.dry_run,
            Self::Prune(asked) => asked.yes,
            Self::Record(_) => true,
            Self::List(_) | Self::Plan(_) | Self::RevokeBound(_) | Self::VerifyRecord(_) => false,
        }
    }
}

/// Arguments of `keys list`.
#[derive(Debug, Args)]
pub struct ListArguments {
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `keys plan`.
#[derive(Debug, Args)]
pub struct PlanArguments {
    /// Print JSON instead of a table and a drawing
    #[arg(long)]
    pub json: bool,
}

/// What `keys generate` and `keys rotate` share.
#[derive(Debug, Args)]
pub struct MakeArguments {
    /// RS256 makes an RSA key, ES256 one on P-256 [default: as the present key, else RS256]
    #[arg(long = "alg", ignore_case = true, value_parser = PossibleValuesParser::new(["RS256", "ES256"]).try_map(|name| name.to_ascii_uppercase().parse::<Algorithm>()))]
    pub algorithm: Option<Algorithm>,
    /// A PIN that may generate, instead of the configured one
    #[arg(long, value_name = "PATH")]
    pub pin_file: Option<PathBuf>,
    /// Say what would be made, and make nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Print JSON instead of text
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `keys generate`.
#[derive(Debug, Args)]
pub struct GenerateArguments {
    #[command(flatten)]
    pub make: MakeArguments,
    /// Make it on this token of the configuration alone, by its label; again for each further one
    #[arg(long = "token", value_name = "LABEL")]
    pub tokens: Vec<String>,
    #[command(flatten)]
    pub activation: ActivationArguments,
    #[command(flatten)]
    pub record: RecordArguments,
}

/// What is written down of a new key.
#[derive(Debug, Default, Args)]
pub struct RecordArguments {
    /// Write a signed record of the key and its token to this new file
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// Put this file of the vendor's into the record; once for each token
    #[arg(long, value_name = "FILE", requires = "record")]
    pub attestation: Vec<PathBuf>,
}

/// From when on the new key signs.
#[derive(Debug, Clone, Copy, Default, Args)]
#[group(multiple = false)]
pub struct ActivationArguments {
    /// Sign from this instant on: 2026-12-01T12:00:00Z or 20261201T120000Z (UTC)
    #[arg(long, value_name = "TIME", value_parser = Instant::from_text)]
    pub activate_at: Option<Instant>,
    /// Sign after so long: 90s, 15m, 2h, 1d
    #[arg(long, value_name = "SPAN")]
    pub activate_in: Option<Span>,
    /// Take the present instant; while another key may sign, the lead is still waited for
    #[arg(long)]
    pub now: bool,
}

/// Arguments of `keys rotate`.
#[derive(Debug, Args)]
pub struct RotateArguments {
    #[command(flatten)]
    pub make: MakeArguments,
}

/// Arguments of `keys prune`.
#[derive(Debug, Args)]
pub struct PruneArguments {
    /// Destroy them, for good
    #[arg(long, conflicts_with = "dry_run")]
    pub yes: bool,
    /// Say what would be destroyed, and destroy nothing (as without --yes)
    #[arg(long)]
    pub dry_run: bool,
    /// A PIN that may destroy, instead of the configured one
    #[arg(long, value_name = "PATH")]
    pub pin_file: Option<PathBuf>,
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `keys revoke-bound`.
#[derive(Debug, Args)]
pub struct RevokeBoundArguments {
    /// The key, as `keys list` shows it
    #[arg(allow_hyphen_values = true)]
    pub kid: String,
    /// Print JSON instead of text
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `keys record`.
#[derive(Debug, Args)]
pub struct RecordKeyArguments {
    /// The key, as `keys list` shows it
    #[arg(allow_hyphen_values = true)]
    pub kid: String,
    /// The new file
    pub file: PathBuf,
    /// Put this file of the vendor's into the record; once for each token that holds the key
    #[arg(long, value_name = "FILE")]
    pub attestation: Vec<PathBuf>,
    /// A PIN that may sign, instead of the configured one
    #[arg(long, value_name = "PATH")]
    pub pin_file: Option<PathBuf>,
    /// Print JSON instead of text
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `keys verify-record`.
#[derive(Debug, Args)]
pub struct VerifyRecordArguments {
    /// The record
    pub file: PathBuf,
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
}
