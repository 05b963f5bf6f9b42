"""now → deadlines, delays and room: what comes to the state from the side."""
