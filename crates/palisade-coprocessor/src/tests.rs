mod apollo;
mod claims;
mod fixture;
mod grafbase;
mod hive;
mod messages;
mod property;
mod token;
