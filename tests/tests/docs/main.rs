//! What the documents say, against what the tree has: links lead somewhere, tables are complete, names exist.

#[cfg(test)]
#[path = "../support/configuration.rs"]
mod configuration;
#[cfg(test)]
mod links;
#[cfg(test)]
mod markdown;
#[cfg(test)]
mod names;
#[cfg(test)]
mod references;
#[cfg(test)]
mod tables;
#[cfg(test)]
mod tree;
