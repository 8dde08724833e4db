"""What is told privately about questions, cancellations and retries, as mrkdwn. As `lines`, which tells of the rest."""
