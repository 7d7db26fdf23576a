throw new Error('left out of the context');
