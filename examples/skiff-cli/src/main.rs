//! The skiff command: arguments in, one call of the library, a report out.

mod args;
mod block;
mod device;
mod explain;
mod failure;
mod fleet;
mod images;
mod inspect;
mod keys;
mod output;
mod print;
mod progress;
mod registry;
mod remote;
mod server;
mod sign;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use args::{Cli, Command, Output};
use failure::Failure;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let output = output(&cli.command);
    match run(&cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if output.is_some_and(|output| output.json) && !failure.is_reported() {
                // Where this cannot be written either, standard error has it.
                let _ = print::line(format_args!("{}", failure.as_json()));
            }
            eprintln!("skiff: {failure}");
            failure.exit_code()
        }
    }
}

fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Diff(args) => server::diff(args),
        Command::SignTree(args) => sign::run(args),
        Command::Flatten(args) => server::flatten(args),
        Command::Keygen(args) => keys::generate(args),
        Command::Sign(args) => keys::sign(args),
        Command::Inspect(args) => inspect::run(args),
        Command::Block(args) => block::run(args),
        Command::Fleet(args) => fleet::fleet(args),
        Command::Device(args) => fleet::device(args),
        Command::Release(args) => fleet::release(args),
        Command::Config(args) => fleet::config(args),
        Command::Install(args) => device::install(args),
        Command::Apply(args) => device::apply(args),
        Command::Verify(args) => device::verify(args),
        Command::Rollback(args) => device::rollback(args),
        Command::Recover(args) => device::recover(args),
        Command::Confirm(args) => device::confirm(args),
        Command::Status(args) => device::status(args),
        Command::Push(args) => registry::push(args),
        Command::Find(args) => registry::find(args),
        Command::Pull(args) => registry::pull(args),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "skiff", &mut script);
            print::line(format_args!("{}", String::from_utf8_lossy(&script).trim_end()))
        }
        Command::Man { directory } => clap_mangen::generate_to(Cli::command(), directory)
            .map_err(|error| Failure::io("writing to", directory, error)),
    }
}

/// How the command's result is to be told; none for those that have only one way.
fn output(command: &Command) -> Option<Output> {
    match command {
        Command::Diff(args) => Some(args.print),
        Command::SignTree(args) => Some(args.print),
        Command::Flatten(args) => Some(args.print),
        Command::Keygen(args) => Some(args.print),
        Command::Sign(args) => Some(args.print),
        Command::Inspect(args) => Some(args.print),
        Command::Block(args) => Some(args.options.print()),
        Command::Fleet(args) => Some(args.command.at().print),
        Command::Device(args) => Some(args.command.at().print),
        Command::Release(args) => Some(args.command.at().print),
        Command::Config(args) => Some(args.command.at().print),
        Command::Install(args) => Some(args.print),
        Command::Apply(args) => Some(args.print),
        Command::Verify(args)
        | Command::Rollback(args)
        | Command::Recover(args)
        | Command::Confirm(args)
        | Command::Status(args) => Some(args.print),
        Command::Push(args) => Some(args.remote.print),
        Command::Find(args) => Some(args.choice.remote.print),
        Command::Pull(args) => Some(args.choice.remote.print),
        Command::Completions { .. } | Command::Man { .. } => None,
    }
}
