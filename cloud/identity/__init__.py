"""Who people and programs are, what they may do, and what was done."""
