//! The `pinnace-image` program: unpacks images into layers and bundles.
#![cfg_attr(not(test), no_main)]

#[cfg(not(test))]
pinnace::program!(pinnace::image::cli::main);
