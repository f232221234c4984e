"""Plans, renders, submits and follows fine-tuning jobs. Imports neither paddle nor numpy."""
