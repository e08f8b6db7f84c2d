"""Sample accounts that show the product: who they are (`samples`), what happened to them (`story`), and how they get
into the database through the real intake (`load`)."""
