"""What alertd deletes, and when: purges, legal holds, archives."""
