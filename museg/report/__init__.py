"""A finished or running experiment as one self-contained HTML page and a folder of pictures; reads run folders only."""
