//! The yardstick of `./dev bench`: CPU nanoseconds of one bare password hash with the default cost, over as many as asked.

use auth_core::hash::{Cost, hash_password};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let rounds: u32 = std::env::args().nth(1).map_or(Ok(20), |rounds| rounds.parse())?;
    // The first run pays for the pages of the allocator, as the first sign-in of a connection does.
    hash_password(b"correct horse", Cost::DEFAULT, &[0; 16])?;
    let before = cpu_nanoseconds()?;
    for round in 0..rounds {
        std::hint::black_box(hash_password(b"correct horse", Cost::DEFAULT, &[round as u8; 16])?);
    }
    println!("{}", (cpu_nanoseconds()? - before) / u64::from(rounds.max(1)));
    Ok(())
}

/// What the kernel says this process has spent on a CPU, system calls and page faults included.
fn cpu_nanoseconds() -> Result<u64, Box<dyn std::error::Error>> {
    let stat = std::fs::read_to_string("/proc/self/schedstat")?;
    Ok(stat.split_whitespace().next().ok_or("schedstat is empty")?.parse()?)
}
