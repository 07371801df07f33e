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
}

const GENERATE_HELP: &str = "\
The first key signs at once. Every other one is published for the lead (MACP_AUTH_KEY_LEAD_SECONDS) before it signs:
without a time it signs after the lead and 60 s. Several tokens get a key of their own each, all with the same instant.

  keys generate                        the algorithm of the present key, after the lead
  keys generate --alg ES256 --activate-in 2h
  keys generate --now                  present instant: it still waits for the lead while another key may sign";

const PRUNE_HELP: &str = "\
Only EXPIRED keys are destroyed, with their public halves: those that no instance publishes any more. Never the active key, the last
one, or one of the algorithm that does not sign; and nothing where a token cannot be read or holds no active key.";

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
    #[arg(long = "alg", value_parser = PossibleValuesParser::new(["RS256", "ES256"]).try_map(|name| name.parse::<Algorithm>()))]
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
    #[command(flatten)]
    pub activation: ActivationArguments,
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
