//! The yardstick of `./dev bench`: for each number on standard input, that many bare password hashes with the default
//! cost, and how many CPU nanoseconds one of them took. One process for all, as a connection's backend is.

use std::hint::black_box;

use auth_core::hash::{Cost, hash_password};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for line in std::io::stdin().lines() {
        let count: u8 = line?.trim().parse()?;
        let before = cpu_nanoseconds()?;
        for number in 0..count {
            black_box(hash_password(b"correct horse", Cost::DEFAULT, &[number; 16])?);
        }
        println!("{}", (cpu_nanoseconds()? - before) / u64::from(count.max(1)));
    }
    Ok(())
}

/// What the kernel says this process has spent on a CPU, system calls and page faults included.
fn cpu_nanoseconds() -> Result<u64, Box<dyn std::error::Error>> {
    let stat = std::fs::read_to_string("/proc/self/schedstat")?;
    Ok(stat.split_whitespace().next().ok_or("schedstat is empty")?.parse()?)
}
