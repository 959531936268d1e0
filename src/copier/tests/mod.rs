mod driver;
mod machine;
mod properties;
