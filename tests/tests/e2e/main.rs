//! Both services as real processes, called as users call them.

#[cfg(test)]
mod accounts;
#[cfg(test)]
mod bad_input;
#[cfg(test)]
mod by_hand;
#[cfg(test)]
mod company;
#[cfg(test)]
mod crashes;
#[cfg(test)]
mod crowd;
#[cfg(test)]
mod currency;
#[cfg(test)]
mod database_away;
#[cfg(test)]
mod leaving;
#[cfg(test)]
mod load;
#[cfg(test)]
mod redis;
#[cfg(test)]
mod restarts;
#[cfg(test)]
mod support;
#[cfg(test)]
mod wire_fuzz;
